-- Every strategy, with machines in two groups, and a failure at every place: what is left, machine
-- by machine.
local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local matrix = require "support.matrix"
local strategies = require "dgrun.fly.strategies"
local time = require "host.time"

local POOL = 4

-- The local Fly is in this process: nobody has to wait for it.
before_each(function() time.pause(true) end)

local toml = [=[
app = "web"
primary_region = "ewr"
[processes]
web = "serve"
worker = "work"
[http_service]
internal_port = 8080
processes = ["web"]
[[http_service.checks]]
path = "/health"
[checks.alive]
type = "http"
port = 8080
path = "/"
processes = ["worker"]
]=]

local old, new = "registry.fly.io/web:old", "registry.fly.io/web:new"

---@class failure
---@field world table the local Fly of the test
---@field machines table<string, table[]> by group, sorted by id
---@field group string
---@field place integer of the machine in its group

---`count` machines in each of two groups, up, on the old image.
local function with(count, body)
    fly_run.with(function(fly, execute)
        health.smoke_seconds = 0.01
        assert(fs.write(fly.dir / "fly.toml", toml))
        fly.register(old)
        fly.register(new)
        local function go(opts)
            opts.app, opts.config, opts.image = "web", fly.dir / "fly.toml", opts.image or new
            opts.max_unavailable = POOL
            opts.wait_timeout = opts.wait_timeout or 10
            return execute(function() return deploy(opts) end)
        end
        local first = go { image = old, ha = false }
        assert.equal("done", first.status, tostring(first.error))
        local groups = { web = {}, worker = {} }
        for _, id in ipairs(first.value.machines) do
            local config = fly.get(id).config
            local list = groups[config.metadata.fly_process_group]
            list[1] = id
            for i = 2, count do
                config.metadata.dgrun_launch = nil
                list[i] = fly.create({ config = config }).id
            end
            table.sort(list)
        end
        for _, list in pairs(groups) do
            for _, id in ipairs(list) do
                fly.wait(id, "started")
            end
        end
        body { fly = fly, go = go, groups = groups, count = count }
    end, { pace = 0.005, persist = false })
end

---The machines as they are, those on their way out left out.
local function seen(world)
    local _, list = world.fly.call("GET", "/v1/apps/web/machines")
    local machines, extra = {}, 0
    local known = {}
    for _, ids in pairs(world.groups) do
        for _, id in ipairs(ids) do
            known[id] = true
        end
    end
    for _, machine in ipairs(list) do
        if machine.state ~= "destroying" then
            machines[machine.id] = machine
            extra = extra + (known[machine.id] and 0 or 1)
        end
    end
    return machines, extra
end

---Nothing is in between, and nobody holds a lease of ours.
local function settled(world)
    world.fly.until_true(function()
        for _, machine in pairs((seen(world))) do
            if machine.state ~= "started" and machine.state ~= "failed" then
                return false
            end
        end
        return true
    end)
    for id in pairs((seen(world))) do
        local status, lease = world.fly.call("GET", ("/v1/apps/web/machines/%s/lease"):format(id))
        assert.is_true(status == 404 or lease.data.description == "thief", "a lease is left")
    end
end

local function all_on(world, image)
    local machines, extra = seen(world)
    assert.equal(0, extra, "machines are left that should be gone")
    for _, ids in pairs(world.groups) do
        for _, id in ipairs(ids) do
            local machine = machines[id]
            assert.is_not_nil(machine, id .. " is gone")
            assert.equal(image, machine.config.image)
            assert.equal("started", machine.state)
        end
    end
end

local function last_release(world)
    local _, answer = world.fly.call("GET", "/api/v1/apps/web/releases")
    return answer.releases[1].status
end

---The failure itself: before the deploy, or with it.
local kinds = {}

function kinds.boot(world, id)
    world.fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/behaviour"):format(id),
        { boot = "fail" })
    return { code = "fly.boot_failed" }
end

function kinds.sick(world, id)
    world.fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/behaviour"):format(id),
        { health = "critical" })
    return { code = "fly.unhealthy", wait_timeout = 0.2 }
end

function kinds.refused(world, id)
    world.fly.call("POST", "/sandbox/v1/faults", { method = "POST", times = 99, status = 422,
        path = ("/machines/%s$"):format(id) })
    return { code = "fly.invalid" }
end

function kinds.lease(world, id)
    return {
        code = "fly.lease",
        before = function()
            local path = ("/v1/apps/web/machines/%s/lease"):format(id)
            world.fly.call("POST", "/sandbox/v1/clock", { advance = 20 })
            world.fly.call("POST", path, { ttl = 600, description = "thief" })
        end,
    }
end

---The strategy, with something that happens right before one machine is updated.
local function hooked(name, id, before)
    return function(blocks)
        for _, verb in ipairs { "update", "update_only", "retire" } do
            local real = blocks[verb]
            blocks[verb] = function(change)
                if change.machine.id == id then
                    before()
                end
                return real(change)
            end
        end
        return strategies[name](blocks)
    end
end

local function run_with(world, name, how, id)
    return world.go {
        strategy = how.before and hooked(name, id, how.before) or name,
        on_failure = how.on_failure, wait_timeout = how.wait_timeout,
    }
end

local function assert_failed(record, code)
    assert.equal("failed", record.status)
    assert.matches("^" .. code:gsub("%.", "%%."), record.error.code, tostring(record.error))
end

---What rolling leaves in a group when its `place`-th machine fails: those that ended before it
---began are new, all are old behind the first; of those that ran beside it, it depends.
local function assert_rolled_to(world, group, place, failing_image, failing_state)
    local machines, extra = seen(world)
    assert.equal(0, extra)
    for i, id in ipairs(world.groups[group]) do
        local machine = machines[id]
        if i == place then
            assert.equal(failing_image, machine.config.image)
            assert.equal(failing_state, machine.state)
        elseif i == 1 or i <= place - POOL then
            assert.equal(new, machine.config.image, ("machine %d of %d"):format(i, place))
        elseif place == 1 then
            assert.equal(old, machine.config.image, ("machine %d of %d"):format(i, place))
        end
        if i ~= place then
            assert.equal("started", machine.state)
        end
    end
    assert.equal("failed", last_release(world))
end

local left = {
    boot = { new, "failed" }, sick = { new, "started" }, refused = { old, "started" },
    lease = { old, "started" },
}

---Places of the failing machine: all; where it is to be quick the first and the last.
local function places(count)
    if count > 2 and matrix.is_quick() then
        return { 1, count }
    end
    local list = {}
    for i = 1, count do
        list[i] = i
    end
    return list
end

local function each_place(count, f)
    for _, group in ipairs { "web", "worker" } do
        for _, place in ipairs(places(count)) do
            with(count, function(world)
                f(world, group, place, world.groups[group][place])
            end)
        end
    end
end

for _, count in ipairs(matrix.pick({ 2, 6 }, { 1, 2, 3, 12 })) do
    describe(("of %d machine(s) in each of two groups"):format(count), function()
        for kind, begin in pairs(kinds) do
            it(("rolling stops where the n-th has the failure '%s'"):format(kind), function()
                each_place(count, function(world, group, place, id)
                    local how = begin(world, id)
                    assert_failed(run_with(world, "rolling", how, id), how.code)
                    settled(world)
                    assert_rolled_to(world, group, place, unpack(left[kind]))
                end)
            end)

            it(("rolling with rollback has all on the old one: '%s'"):format(kind), function()
                each_place(count, function(world, _, _, id)
                    local how = begin(world, id)
                    how.on_failure = "rollback"
                    local record = run_with(world, "rolling", how, id)
                    assert_failed(record, how.code)
                    settled(world)
                    if kind == "boot" then
                        -- It boots no image any more; it has its old one.
                        local machine = seen(world)[id]
                        assert.equal("old", machine.image_ref.tag)
                        world.fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/behaviour")
                            :format(id), { boot = "ok" })
                        world.fly.call("POST", ("/v1/apps/web/machines/%s/start"):format(id))
                        world.fly.wait(id, "started")
                    end
                    for _, machine in pairs((seen(world))) do
                        assert.equal("old", machine.image_ref.tag)
                        assert.equal("started", machine.state)
                    end
                    assert.equal("failed", last_release(world))
                end)
            end)
        end

        it("an answer that is lost or late once changes nothing for any strategy", function()
            for _, when in ipairs { "before", "after" } do
                each_place(count, function(world, _, place, id)
                    local name = place % 2 == 1 and "rolling" or "immediate"
                    world.fly.call("POST", "/sandbox/v1/faults", { method = "POST", when = when,
                        path = ("/machines/%s$"):format(id), reset = place % 3 == 0 or nil,
                        status = place % 3 ~= 0 and 500 or nil })
                    local record = run_with(world, name, {}, id)
                    assert.equal("done", record.status, tostring(record.error))
                    settled(world)
                    all_on(world, new)
                    local updates = 0
                    for _, event in ipairs(world.fly.get(id).events) do
                        updates = updates + (event.type == "update" and 1 or 0)
                    end
                    assert.equal(1, updates)
                    assert.equal("complete", last_release(world))
                end)
            end
        end)

        it("immediate updates all, whatever becomes of them", function()
            for _, kind in ipairs { "boot", "sick" } do
                each_place(count, function(world, _, _, id)
                    kinds[kind](world, id)
                    assert.equal("done", run_with(world, "immediate", {}, id).status)
                    settled(world)
                    local machines = seen(world)
                    for _, machine in pairs(machines) do
                        assert.equal(new, machine.config.image)
                    end
                    assert.equal(kind == "boot" and "failed" or "started", machines[id].state)
                end)
            end
        end)

        it("immediate updates the others when one is refused", function()
            each_place(count, function(world, _, _, id)
                kinds.refused(world, id)
                assert_failed(run_with(world, "immediate", {}, id), "fly.invalid")
                settled(world)
                for _, machine in pairs((seen(world))) do
                    assert.equal(machine.id == id and old or new, machine.config.image)
                end
                assert.equal("failed", last_release(world))
            end)
        end)
    end)
end

---Machines that are made beside the others fail by their number.
local function beside(world, kind, place)
    if kind == "refused" then
        world.fly.call("POST", "/sandbox/v1/faults", { method = "POST", path = "/machines$",
            after = place - 1, times = 99, status = 422 })
        return "fly.invalid"
    end
    world.fly.register("registry.fly.io/web:new",
        kind == "boot" and { fail_after = place - 1 } or { sick_after = place - 1 })
    return kind == "boot" and "fly.boot_failed" or "fly.unhealthy"
end

for _, count in ipairs(matrix.pick({ 2, 6 }, { 1, 2, 3, 12 })) do
    describe(("of %d machine(s) in each of two groups"):format(count), function()
        for _, kind in ipairs { "boot", "sick", "refused" } do
            it(("canary leaves all as they were when one is '%s'"):format(kind), function()
                for place = 1, 2 do
                    with(count, function(world)
                        local code = beside(world, kind, place)
                        assert_failed(world.go { strategy = "canary", wait_timeout = 0.3 }, code)
                        settled(world)
                        all_on(world, old)
                        assert.equal("failed", last_release(world))
                    end)
                end
            end)

            it(("bluegreen leaves all as they were when the n-th is '%s'"):format(kind), function()
                for _, place in ipairs(places(count * 2)) do
                    with(count, function(world)
                        local code = beside(world, kind, place)
                        assert_failed(world.go { strategy = "bluegreen", wait_timeout = 0.5 },
                            code)
                        settled(world)
                        all_on(world, old)
                        assert.equal("failed", last_release(world))
                    end)
                end
            end)
        end

        it("bluegreen keeps the green ones when a blue one is taken away from it", function()
            each_place(count, function(world, _, _, id)
                local how = kinds.lease(world, id)
                assert_failed(run_with(world, "bluegreen", how, id), how.code)
                world.fly.until_true(function()
                    local machines, extra = seen(world)
                    return extra == count * 2 and machines[id] ~= nil
                end)
                -- When it is free again, the next deploy removes it.
                world.fly.call("POST", "/sandbox/v1/clock", { advance = 700 })
                local record = world.go { strategy = "bluegreen" }
                assert.equal("done", record.status, tostring(record.error))
                world.fly.until_true(function()
                    local machines, extra = seen(world)
                    return extra == count * 2 and machines[id] == nil
                end)
            end)
        end)
    end)
end
