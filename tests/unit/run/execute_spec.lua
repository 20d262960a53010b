local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local run = require "dgrun.run"
local secret = require "host.secret"
local task = require "dgrun.core.task"

local function execute(fn, opts)
    opts = opts or {}
    opts.name, opts.root, opts.journal = "test", "/nowhere", false
    return run.execute(opts, fn)
end

---Notes the events of a run.
local function observer(events)
    return setmetatable({}, { __index = function(_, event)
        return function(_, subject, text)
            table.insert(events, event .. " " .. (text or subject.name or subject.summary))
        end
    end })
end

describe("a run", function()
    it("has an id that sorts by time, and ends", function()
        local first = execute(function() return 7 end)
        assert.matches("^%d%d%d%d%d%d%d%d%-%d%d%d%d%d%d%-%w%w%w%w$", first.id)
        assert.equal("done", first.status)
        assert.equal(7, first.result)
        assert.is_nil(run.current())
    end)

    it("has a private folder while it lasts", function()
        local folder
        execute(function(r)
            folder = r.dir
            assert.equal(folder, run.current().dir)
            assert.equal("directory", fs.stat(folder).type)
        end)
        assert.is_false(fs.exists(folder))
    end)

    it("tells where in the script it failed", function()
        local chunk = loadstring("local x\nlocal y = x.field", "@scripts/x.lua")
        local r = execute(chunk)
        assert.equal("failed", r.status)
        assert.equal("lua.error", r.error.code)
        assert.equal("scripts/x.lua:2", r.error.where)
        assert.matches("^attempt to index", r.error.msg)
    end)

    it("keeps an error object as it is", function()
        local r = execute(function()
            err.raise { code = "fly.not_found", msg = "no such app", status = 404 }
        end)
        assert.equal("fly.not_found", r.error.code)
        assert.equal(404, r.error.status)
        assert.matches("execute_spec.lua:%d+$", r.error.where)
    end)

    it("ends after its children", function()
        local ended = false
        execute(function()
            task.spawn(function()
                task.sleep(0.001)
                ended = true
            end)
        end)
        assert.is_true(ended)
    end)
end)

describe("a step", function()
    it("returns what its function returns", function()
        local r = execute(function()
            return run.step("Checkout", function() return { commit = "abc" } end)
        end)
        assert.same({ commit = "abc" }, r.result)
        assert.equal("done", r.steps[1].status)
    end)

    it("runs outside of a run too", function()
        assert.equal(1, run.step("Alone", function() return 1 end))
    end)

    it("cannot have the name of another", function()
        local r = execute(function()
            run.step("A", function() end)
            run.step("A", function() end)
        end)
        assert.equal("run.duplicate_step", r.error.code)
    end)

    it("cannot stand inside of another", function()
        local r = execute(function()
            run.step("A", function() run.step("B", function() end) end)
        end)
        assert.equal("run.nested_step", r.error.code)
    end)

    it("may run beside another", function()
        local r = execute(function()
            task.all {
                function()
                    run.step("A", function()
                        task.sleep(0.001)
                        assert.equal("A", run.current_step().name)
                    end)
                end,
                function()
                    run.step("B", function() assert.equal("B", run.current_step().name) end)
                end,
            }
        end)
        assert.equal("done", r.status)
    end)

    it("names the path of what cannot be journaled", function()
        local cyclic = {}
        cyclic.self = { cyclic }
        local results = {
            { function() end, "result is a function" },
            { { a = { print } }, "result%.a%[1%] is a function" },
            { { n = 0 / 0 }, "result%.n is not a finite number" },
            { cyclic, "result%.self%[1%] refers to itself" },
            { { [{}] = 1 }, "has a key that is not a string" },
        }
        for _, case in ipairs(results) do
            local r = execute(function() run.step("A", function() return case[1] end) end)
            assert.equal("run.step_result", r.error.code)
            assert.matches(case[2], r.error.msg)
        end
    end)

    it("gives a secret in its result back, and journals its name", function()
        local sealed = secret.new("TOKEN", "correct horse")
        local got
        local r = execute(function()
            got = run.step("A", function() return { token = sealed } end)
        end)
        assert.equal(sealed, got.token)
        assert.same({ token = { ["$secret"] = "TOKEN" } }, r.steps[1].result)
    end)

    it("names itself in the error that ends it", function()
        local r = execute(function()
            run.step("Deploy", function() err.raise { code = "x.y", msg = "no" } end)
        end)
        assert.equal("Deploy", r.error.step)
        assert.equal("failed", r.steps[1].status)
    end)

    it("does not begin once the run is cancelled", function()
        local begun = false
        local r = execute(function()
            local child = task.spawn(function()
                pcall(task.sleep, 60)
                run.step("Late", function() begun = true end)
            end)
            task.sleep(0.001)
            child.cancel()
        end)
        assert.is_false(begun)
        assert.equal(0, #r.steps)
    end)
end)

describe("the observer of a run", function()
    it("is told what happens, in order", function()
        local events = {}
        execute(function()
            run.step("A", function()
                effect.note "already there"
                run.log "from a \27[31mchild\27[0m"
                effect.write {
                    kind = "x.create", target = "x", summary = "create x", apply = function() end,
                }
            end)
        end, { observer = observer(events) })
        assert.same({
            "step_started A", "note already there", "log from a child",
            "effect_started create x", "effect_ended create x", "step_ended A",
        }, events)
    end)
end)

describe("a declaration", function()
    it("can have no steps, no effects, and cannot wait", function()
        local cases = {
            function() run.step("A", function() end) end,
            function()
                effect.write { kind = "a.b", target = "x", summary = "s", apply = print }
            end,
        }
        for _, case in ipairs(cases) do
            local ok, e = pcall(run.declaring, case)
            assert.is_false(ok)
            assert.equal("run.declaring", e.code)
        end
        local ok, e = pcall(run.declaring, function() task.sleep(1) end)
        assert.is_false(ok)
        assert.matches("cannot wait", e.msg)
    end)

    it("returns what it makes", function()
        assert.equal(5, run.declaring(function(n) return n end, 5))
    end)
end)
