-- The gate of a deploy: asked after each machine and at the end, with three outcomes.
local deploy = require("dgrun.fly.deploy").deploy
local err = require "dgrun.core.err"
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local probe = require "dgrun.probe"
local task = require "dgrun.core.task"

local toml = [=[
app = "web"
primary_region = "ewr"
[deploy]
wait_timeout = "3s"
[http_service]
internal_port = 8080
[[http_service.checks]]
path = "/health"
]=]

local function image(name)
    return "registry.fly.io/web:" .. name
end

---`count` machines, started, on the image "old". Its site says "v1", that of "new" says "v2": both
---are healthy by their checks.
local function with_machines(count, body)
    fly_run.with(function(fly, execute)
        health.smoke_seconds = 0.2
        assert(fs.write(fly.dir / "fly.toml", toml))
        fly.register(image "old", { body = "v1" })
        fly.register(image "new", { body = "v2" })
        local function go(name, opts, plan)
            opts = opts or {}
            opts.app, opts.config, opts.image = "web", fly.dir / "fly.toml", image(name)
            opts.wait_timeout = 3
            return execute(function() return deploy(opts) end, plan)
        end
        local first = go("old", { ha = false })
        assert.equal("done", first.status, tostring(first.error))
        for _ = 2, count do
            local config = fly.get(first.value.machines[1]).config
            config.metadata.dgrun_launch = nil
            fly.wait(fly.create({ config = config }).id, "started")
        end
        local function tags()
            local _, machines = fly.call("GET", "/v1/apps/web/machines")
            local found = {}
            for _, machine in ipairs(machines) do
                found[machine.image_ref.tag] = (found[machine.image_ref.tag] or 0) + 1
            end
            return found
        end
        local function statuses()
            local _, answer = fly.call("GET", "/api/v1/apps/web/releases")
            local list = {}
            for i, release in ipairs(answer.releases) do
                list[i] = release.status
            end
            return list
        end
        body({ go = go, tags = tags, fly = fly, statuses = statuses })
    end)
end

---A gate that says `says[n]` when it is asked for the n-th time, and keeps who was asked about.
local function asking(says)
    local asked = {}
    return function(machine)
        asked[#asked + 1] = machine and machine.id or "the whole"
        local answer = says[#asked]
        if type(answer) == "table" then
            err.raise(answer)
        end
        return answer, "said so"
    end, asked
end

local function texts(record)
    local list = {}
    for i, note in ipairs(record.notes) do
        list[i] = note.text
    end
    return table.concat(list, "\n")
end

describe("a gate", function()
    it("is asked after each machine, one after the other, and at the end", function()
        with_machines(3, function(on)
            local running, most = 0, 0
            local asked = {}
            local record = on.go("new", { max_unavailable = 1, gate = function(machine)
                running = running + 1
                most = math.max(most, running)
                if machine then
                    assert.equal("started", on.fly.get(machine.id).state)
                    assert.same({ app = "web", group = "app", region = "ewr", id = machine.id },
                        machine)
                    -- Those that come later are still on the old version.
                    assert.equal(#asked + 1, on.tags().new)
                end
                asked[#asked + 1] = machine and machine.id or "the whole"
                task.sleep(0.01)
                running = running - 1
            end })
            assert.equal("done", record.status, tostring(record.error))
            assert.equal(1, most)
            assert.equal(4, #asked)
            assert.equal("the whole", asked[4])
            assert.same({ new = 3 }, on.tags())
            -- Nothing to deploy, nobody to ask.
            local gate, again = asking {}
            on.go("new", { gate = gate })
            assert.same({}, again)
        end)
    end)

    it("that says bad stops the deploy; the others keep the old version", function()
        with_machines(3, function(on)
            local gate, asked = asking { true, false }
            local record = on.go("new", { max_unavailable = 1, gate = gate })
            assert.equal("failed", record.status)
            local e = record.error
            assert.equal("fly.gate_bad", e.code)
            assert.equal(asked[2], e.machine)
            assert.matches("is healthy, but the gate reports bad: said so", e.msg, 1, true)
            assert.is_table(e.details)
            assert.same({ new = 2, old = 1 }, on.tags())
            assert.equal("failed", on.statuses()[1])
            -- Mended meanwhile: the rest follows.
            assert.equal("done", on.go("new", { gate = asking {} }).status)
            assert.same({ new = 3 }, on.tags())
        end)
    end)

    it("that says bad after any machine, or at the end, rolls all back", function()
        for n = 1, 3 do
            with_machines(2, function(on)
                local says = {}
                for i = 1, n do
                    says[i] = i < n
                end
                local record = on.go("new", { max_unavailable = 1, on_failure = "rollback",
                    gate = asking(says) })
                assert.equal("fly.gate_bad", record.error.code)
                assert.same({ old = 2 }, on.tags())
                assert.equal(math.min(n, 2), record.error.rolled_back)
                assert.equal("failed", on.statuses()[1])
                for _, id in ipairs(on.go("old").value.machines) do
                    assert.equal("started", on.fly.get(id).state)
                end
            end)
        end
    end)

    it("of a watch sees what the checks do not", function()
        with_machines(2, function(on)
            local function gate()
                return probe.watch { duration = 0.05, interval = 0.01, min_samples = 1,
                    probe = { url = "https://web.fly.dev/", body = "v1" } }
            end
            local record = on.go("new", { gate = gate, on_failure = "rollback",
                max_unavailable = 1 })
            assert.equal("fly.gate_bad", record.error.code)
            assert.matches("its body lacks \"v1\"", record.error.msg, 1, true)
            assert.same({ old = 2 }, on.tags())
            -- Its options are a gate too.
            local options = { duration = 0.05, interval = 0.01, min_samples = 1,
                probe = { url = "https://web.fly.dev/", body = "v" } }
            record = on.go("new", { gate = options, on_failure = "rollback" })
            assert.equal("done", record.status, tostring(record.error))
            assert.same({ new = 2 }, on.tags())
        end)
    end)

    it("that cannot tell is noted loudly, and the deploy goes on", function()
        with_machines(2, function(on)
            -- Nobody answers the prober, the control neither: it has no network.
            on.fly.fault { path = "^/sandbox/site/web", reset = true, times = 1000 }
            local record = on.go("new", { on_failure = "rollback", gate = {
                duration = 0.02, interval = 0.01,
                probe = { url = "https://web.fly.dev/", control = "http://127.0.0.1:1/" } } })
            assert.equal("done", record.status, tostring(record.error))
            assert.same({ new = 2 }, on.tags())
            assert.matches("INCONCLUSIVE: https://web.fly.dev/: 0 good, 0 bad, ", texts(record), 1,
                true)
            assert.matches("the gate of machine %x+ of web is inconclusive; the deploy continues",
                texts(record))
            assert.equal("complete", on.statuses()[1])
            local found
            for _, fact in ipairs(record.facts) do
                found = found or fact.name == "inconclusive"
            end
            assert.is_true(found)
            -- The same silence, while Fly's API answers, is bad.
            record = on.go("old", { on_failure = "rollback", gate = { duration = 0.02,
                interval = 0.01, probe = { url = "https://web.fly.dev/" } } })
            assert.equal("fly.gate_bad", record.error.code)
            assert.same({ new = 2 }, on.tags())
        end)
    end)

    it("of one's own that cannot tell is noted loudly too", function()
        with_machines(1, function(on)
            local record = on.go("new", { gate = asking { "unknown", true } })
            assert.equal("done", record.status, tostring(record.error))
            assert.matches("INCONCLUSIVE: said so", texts(record), 1, true)
        end)
    end)

    it("that cannot tell is as good as bad where the deploy says so", function()
        with_machines(2, function(on)
            local record = on.go("new", { on_failure = "rollback", on_inconclusive = "fail",
                max_unavailable = 1, gate = asking { "unknown" } })
            assert.equal("fly.gate_inconclusive", record.error.code)
            assert.same({ old = 2 }, on.tags())
        end)
    end)

    it("that raises is bad; one with a mistake fails as what it is", function()
        with_machines(2, function(on)
            local record = on.go("new", { on_failure = "rollback", max_unavailable = 1,
                gate = asking { { code = "probe.failed", msg = "no answer" } } })
            assert.equal("fly.gate_bad", record.error.code)
            assert.matches("no answer", record.error.msg)
            record = on.go("new", { on_failure = "rollback", max_unavailable = 1,
                gate = function() error "a typo" end })
            assert.matches("a typo", record.error.msg)
            assert.same({ old = 2 }, on.tags())
        end)
    end)

    it("that is cancelled says nothing: no machine is rolled back", function()
        with_machines(2, function(on)
            local record = on.go("new", { on_failure = "rollback", max_unavailable = 1,
                gate = asking { { code = "cancelled", msg = "cancelled" } } })
            assert.equal("cancelled", record.error.code)
            assert.same({ new = 1, old = 1 }, on.tags())
            assert.equal("interrupted", on.statuses()[1])
        end)
    end)

    it("is told in a plan, and not asked", function()
        with_machines(2, function(on)
            local gate, asked = asking {}
            local plan = on.go("new", { gate = gate }, true)
            assert.equal("done", plan.status, tostring(plan.error))
            assert.same({}, asked)
            assert.matches("would ask the script's gate: after each of 2 machines, and at "
                .. "the end", texts(plan), 1, true)
            plan = on.go("new", { gate = { probe = { url = "https://web.fly.dev/" } } }, true)
            assert.matches("would watch https://web.fly.dev/ for 1m 0s, every 5.0s, 0 failures "
                .. "allowed: after each of 2 machines, and at the end", texts(plan), 1, true)
        end)
    end)

    it("with options that are wrong is refused before anything is changed", function()
        with_machines(1, function(on)
            for code, opts in pairs {
                ["input.invalid"] = { gate = "watch" },
                ["input.unknown_option"] = { gate = { probe = {}, durration = 1 } },
            } do
                local record = on.go("new", opts)
                assert.equal(code, record.error.code)
                assert.same({}, record.effects)
            end
            assert.equal("input.invalid", on.go("new", { on_inconclusive = "stop" }).error.code)
        end)
    end)

    it("that was not asked at the end, since the run was killed, is asked by the next", function()
        with_machines(2, function(on)
            local gate = asking { true, true, { code = "lua.error", msg = "killed" } }
            assert.equal("failed", on.go("new", { gate = gate, max_unavailable = 1 }).status)
            local again, asked = asking { false }
            assert.equal("fly.gate_bad", on.go("new", { gate = again }).error.code)
            assert.same({ "the whole" }, asked)
            assert.not_equal("complete", on.statuses()[1])
            assert.equal("done", on.go("new", { gate = asking { true } }).status)
            assert.equal("complete", on.statuses()[1])
        end)
    end)
end)

describe("the gate of", function()
    it("a canary, and of green machines, says bad before an old one is touched", function()
        for _, strategy in ipairs { "canary", "bluegreen" } do
            with_machines(2, function(on)
                local gate, asked = asking { false }
                local record = on.go("new", { strategy = strategy, gate = gate })
                assert.equal("fly.gate_bad", record.error.code, strategy)
                assert.equal(1, #asked)
                on.fly.until_true(function() return not on.tags().new end)
                assert.same({ old = 2 }, on.tags())
                assert.equal("done", on.go("new", { strategy = strategy,
                    gate = asking {} }).status)
            end)
        end
    end)

    it("immediate is asked once, at the end", function()
        with_machines(2, function(on)
            local gate, asked = asking { false }
            local record = on.go("new", { strategy = "immediate", gate = gate })
            assert.equal("fly.gate_bad", record.error.code)
            assert.same({ "the whole" }, asked)
            assert.same({ new = 2 }, on.tags())
        end)
    end)

    it("a strategy of one's own is a building block", function()
        with_machines(2, function(on)
            local gate, asked = asking {}
            local record = on.go("new", { gate = gate, strategy = function(blocks)
                for _, change in ipairs(blocks.updates) do
                    local updated = blocks.update(change)
                    blocks.gate { app = blocks.app, id = updated.id, group = change.group,
                        region = change.machine.region }
                end
            end })
            assert.equal("done", record.status, tostring(record.error))
            assert.equal(2, #asked)
        end)
    end)
end)
