local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local matrix = require "support.matrix"
local strategies = require "dgrun.fly.strategies"

local toml = [=[
app = "web"
primary_region = "ewr"
[deploy]
wait_timeout = "3s"
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

local function image(name)
    return "registry.fly.io/web:" .. name
end

---`count` machines in each of two groups, started, on the image "old".
local function with_machines(count, body)
    fly_run.with(function(fly, execute)
        health.smoke_seconds = 0.2
        assert(fs.write(fly.dir / "fly.toml", toml))
        fly.register(image "old")
        fly.register(image "new")
        local function go(name, opts)
            opts = opts or {}
            opts.app, opts.config, opts.image = "web", fly.dir / "fly.toml", image(name)
            opts.wait_timeout = opts.wait_timeout or 1
            local plan = opts.plan
            opts.plan = nil
            return execute(function() return deploy(opts) end, plan)
        end
        local first = go("old", { ha = false })
        assert.equal("done", first.status, tostring(first.error))
        for _ = 2, count do
            for _, id in ipairs(first.value.machines) do
                local config = fly.get(id).config
                config.metadata.dgrun_launch = nil
                fly.create { config = config }
            end
        end
        local function tags()
            local _, machines = fly.call("GET", "/v1/apps/web/machines")
            local found = {}
            for _, machine in ipairs(machines) do
                found[machine.image_ref.tag] = (found[machine.image_ref.tag] or 0) + 1
            end
            return found, machines
        end
        fly.until_true(function()
            local _, machines = tags()
            for _, machine in ipairs(machines) do
                if machine.state ~= "started" then
                    return false
                end
            end
            return true
        end)
        body(go, tags, fly)
    end)
end

-- With five there is a second batch.
for _, count in ipairs(matrix.pick({ 1, 2, 3, 5 }, { 1, 2, 3, 5, 12 })) do
    describe(("with %d machine(s) in each of two groups"):format(count), function()
        it("rolling, immediate, canary and bluegreen end with all on the new image", function()
            for _, strategy in ipairs { "rolling", "immediate", "canary", "bluegreen" } do
                with_machines(count, function(go, tags, fly)
                    local record = go("new", { strategy = strategy, max_unavailable = 4 })
                    assert.equal("done", record.status, strategy .. ": " .. tostring(record.error))
                    -- Destroyed machines are listed until they are gone.
                    fly.until_true(function() return not tags().old end)
                    assert.equal(count * 2, tags().new)
                    assert.same({}, go("new", { strategy = strategy }).effects)
                end)
            end
        end)
    end)
end

describe("a plan of a strategy", function()
    it("shows the canary, and the green and blue machines", function()
        with_machines(2, function(go)
            local function summaries(strategy)
                local record = go("new", { strategy = strategy, plan = true })
                assert.equal("done", record.status, tostring(record.error))
                local text = {}
                for i, effect in ipairs(record.effects) do
                    text[i] = effect.summary
                end
                return table.concat(text, "\n")
            end
            assert.matches("create a canary machine", summaries "canary")
            local bluegreen = summaries "bluegreen"
            assert.matches("create a green machine", bluegreen)
            assert.matches("destroy machine", bluegreen)
        end)
    end)

    it("takes a strategy of one's own", function()
        with_machines(2, function(go, tags)
            local record = go("new", { strategy = function(blocks)
                for _, change in ipairs(blocks.updates) do
                    blocks.update(change)
                end
            end })
            assert.equal("done", record.status, tostring(record.error))
            assert.same({ new = 4 }, tags())
        end)
    end)
end)

describe("a strategy", function()
    -- From its n-th verb on a deploy does nothing any more, as if its process were killed there.
    local function dying(strategy, n)
        return function(blocks)
            local count, dead = 0, setmetatable({}, { __index = blocks })
            for name, verb in pairs(blocks) do
                if type(verb) == "function" and name ~= "sleep" then
                    dead[name] = function(...)
                        count = count + 1
                        if count >= n then
                            error("killed", 0)
                        end
                        return verb(...)
                    end
                end
            end
            strategies[strategy](dead)
        end
    end

    for _, strategy in ipairs { "canary", "bluegreen" } do
        it(strategy .. " that is killed anywhere is ended by the next deploy", function()
            local n, finished = 0, false
            while not finished do
                n = n + matrix.pick(2, 1)
                with_machines(2, function(go, tags)
                    local first = go("new", { strategy = dying(strategy, n) })
                    finished = first.status == "done"
                    local record = go("new", { strategy = strategy })
                    assert.equal("done", record.status, tostring(record.error))
                    local found, machines
                    require("dgrun.core.task").timeout(10, function()
                        repeat
                            found, machines = tags()
                        until #machines == 4
                    end)
                    assert.same({ new = 4 }, found, ("killed at verb %d"):format(n))
                    for _, machine in ipairs(machines) do
                        assert.is_falsy(machine.cordoned)
                        assert.is_nil(machine.config.metadata.fly_canary)
                    end
                    local again = go("new", { strategy = strategy })
                    assert.is_false(again.value.changed, ("killed at verb %d"):format(n))
                end)
            end
            assert.is_true(n > 4)
        end)
    end
end)

---The machines that a strategy creates and updates, over steps that do nothing.
local function steps(updates)
    local created = {}
    return {
        app = "web", updates = updates, already = 0, max_unavailable = 1, on_failure = "stop",
        planning = false, starts = function(change) return change.machine.state == "started" end,
        update = function(change) return change.machine end, gate = function() end,
        create = function(opts)
            created[#created + 1] = opts
            return { id = "new", region = opts.region }
        end,
        check_bluegreen = function() end, wait_good = function() end, uncordon = function() end,
        mark = function() end, retire = function() end, remove = function() end,
    }, created
end

local function change(id, machine, config)
    machine.id, machine.state = id, machine.state or "started"
    machine.config = machine.config or {}
    config.metadata = {}
    return { group = "web", machine = machine, config = config }
end

local checked = { checks = { alive = { type = "tcp" } } }
local old = { registry = "r", repository = "web", tag = "old" }
local other = { registry = "r", repository = "web", tag = "other" }

describe("bluegreen", function()
    local function copy(config)
        return require("dgrun.core.table").copy(config)
    end

    it("creates each green machine in the region of its blue one", function()
        local done, created = steps {
            change("a", { image_ref = old, region = "ams" }, copy(checked)),
            change("b", { image_ref = old, region = "syd", state = "stopped" }, copy(checked)),
        }
        strategies.bluegreen(done)
        assert.same({ "ams", "syd" }, { created[1].region, created[2].region })
        assert.same({ false, true }, { created[1].stopped, created[2].stopped })
    end)

    it("wants checks in the new configuration, not in the old one", function()
        strategies.bluegreen((steps { change("a", { image_ref = old }, copy(checked)) }))
        local done = steps { change("a", { image_ref = old, config = copy(checked) }, {}) }
        local ok, e = pcall(strategies.bluegreen, done)
        assert.is_false(ok)
        assert.equal("fly.no_checks", e.code)
    end)

    it("compares the images of machines that Fly can reach and whose image is known", function()
        strategies.bluegreen((steps {
            change("a", { image_ref = old }, copy(checked)), change("b", {}, copy(checked)),
            change("c", { image_ref = other, host_status = "unreachable" }, copy(checked)),
        }))
        local ok, e = pcall(strategies.bluegreen, (steps {
            change("a", { image_ref = old }, copy(checked)),
            change("b", { image_ref = other, host_status = "ok" }, copy(checked)),
        }))
        assert.is_false(ok)
        assert.equal("fly.mixed_images", e.code)
    end)
end)

describe("canary", function()
    it("has no standbys", function()
        local done, created = steps {
            change("a", {}, { standbys = { "b" } }),
        }
        strategies.canary(done)
        assert.is_nil(created[1].config.standbys)
        assert.same({ "b" }, done.updates[1].config.standbys)
    end)
end)
