local time = require "host.time"
local world = require "support.sandbox"

local image = "registry.fly.io/web:1"

local function starts(fly, id)
    local count = 0
    for _, event in ipairs(fly.get(id).events) do
        count = count + (event.type == "start" and 1 or 0)
    end
    return count
end

local function scheduled(fly, schedule)
    fly.register(image)
    local machine = fly.create { config = { image = image, schedule = schedule,
        init = { cmd = { "work" } }, restart = { policy = "no" } } }
    fly.until_true(function() return starts(fly, machine.id) == 1 end)
    fly.wait(machine.id, "stopped")
    return machine
end

describe("the sandbox's clock", function()
    it("is moved forward only", function()
        world.run(function(fly)
            local _, before = fly.call("GET", "/sandbox/v1/clock")
            local status, after = fly.call("POST", "/sandbox/v1/clock", { advance = 3600 })
            assert.equal(200, status)
            assert.is_true(time.parse(after.now) - time.parse(before.now) >= 3600)
            for _, advance in ipairs { -1, "1h", 1e12 } do
                assert.equal(422, (fly.call("POST", "/sandbox/v1/clock", { advance = advance })))
            end
            fly.reopen()
            _, after = fly.call("GET", "/sandbox/v1/clock")
            assert.equal(3600, after.offset)
        end)
    end)

    it("ends leases", function()
        world.run(function(fly)
            fly.register(image)
            local path = "/v1/apps/web/machines/" .. fly.web(image).id .. "/lease"
            assert.equal(201, (fly.call("POST", path, { ttl = 60, description = "test" })))
            assert.equal(200, (fly.call("GET", path)))
            fly.advance(61)
            assert.equal(404, (fly.call("GET", path)))
            assert.equal(201, (fly.call("POST", path .. "?ttl=60")))
        end)
    end)

    for schedule, seconds in pairs { hourly = 3600, daily = 86400, weekly = 604800,
        monthly = 2592000 } do
        it("starts machines that run " .. schedule, function()
            world.run(function(fly)
                local machine = scheduled(fly, schedule)
                fly.advance(seconds - 600)
                assert.equal("stopped", fly.get(machine.id).state)
                assert.equal(1, starts(fly, machine.id))
                fly.advance(600)
                fly.until_true(function() return starts(fly, machine.id) == 2 end)
                fly.wait(machine.id, "stopped")
                fly.advance(3 * seconds)
                fly.until_true(function() return starts(fly, machine.id) == 3 end)
            end)
        end)
    end

    it("starts what became due while the sandbox was away", function()
        world.run(function(fly)
            local machine = scheduled(fly, "hourly")
            fly.advance(3000)
            fly.reopen()
            assert.equal(1, starts(fly, machine.id))
            fly.advance(700)
            fly.until_true(function() return starts(fly, machine.id) == 2 end)
        end)
    end)

    it("ticks by itself", function()
        world.run(function(fly)
            local machine = scheduled(fly, "hourly")
            -- Nearly an hour has passed; the rest passes for real.
            fly.advance(3600 - (time.wall() - time.parse(machine.created_at)) - 1)
            fly.until_true(function() return starts(fly, machine.id) == 2 end)
        end)
    end)

    it("lets the schedule of a machine that was updated and left stopped stand still", function()
        world.run(function(fly)
            local machine = scheduled(fly, "hourly")
            local config = { image = image, schedule = "hourly", init = { cmd = { "new" } } }
            assert.equal(200, (fly.call("POST", "/v1/apps/web/machines/" .. machine.id,
                { config = config, skip_launch = true })))
            fly.wait(machine.id, "stopped")
            fly.advance(8 * 3600)
            fly.reopen()
            fly.advance(3600)
            assert.equal(1, starts(fly, machine.id))
            assert.equal(200, (fly.call("POST", "/v1/apps/web/machines/" .. machine.id
                .. "/start")))
            fly.until_true(function() return starts(fly, machine.id) == 2 end)
            fly.wait(machine.id, "stopped")
            fly.advance(3600)
            fly.until_true(function() return starts(fly, machine.id) == 3 end)
        end)
    end)

    it("stands in the date of every answer", function()
        world.run(function(fly)
            fly.advance(86400)
            local _, shown, headers = fly.call("GET", "/sandbox/v1/clock")
            assert.equal(shown.now:match("T(.*)Z"), headers.date:match("(%S+) GMT$"))
            assert.equal(shown.now:sub(9, 10), headers.date:match("^%a+, (%d%d) "))
        end)
    end)

    it("can be helped with a tick", function()
        world.run(function(fly)
            local machine = scheduled(fly, "hourly")
            local own = "/sandbox/v1/apps/web/machines/" .. machine.id .. "/tick"
            assert.equal(200, (fly.call("POST", own)))
            fly.until_true(function() return starts(fly, machine.id) == 2 end)
            local other = fly.create { config = { image = image } }
            assert.equal(422, (fly.call("POST",
                "/sandbox/v1/apps/web/machines/" .. other.id .. "/tick")))
        end)
    end)

    it("forgets the schedule that an update removes", function()
        world.run(function(fly)
            local machine = scheduled(fly, "hourly")
            fly.call("POST", "/v1/apps/web/machines/" .. machine.id, { config = { image = image } })
            fly.wait(machine.id, "stopped")
            fly.advance(7200)
            assert.equal("stopped", fly.get(machine.id).state)
        end)
    end)
end)
