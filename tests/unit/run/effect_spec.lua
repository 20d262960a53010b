local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local run = require "dgrun.run"
local task = require "dgrun.core.task"

local function execute(fn, opts)
    opts = opts or {}
    opts.name, opts.root, opts.journal = "test", "/nowhere", false
    return run.execute(opts, fn)
end

local function write(over)
    local e = {
        kind = "fly.machine.update", target = "app/1", summary = "update machine 1",
        apply = function() return { id = 1 } end,
    }
    for key, value in pairs(over or {}) do
        e[key] = value
    end
    return effect.write(e)
end

describe("an effect", function()
    it("is applied in a run, and recorded", function()
        local result
        local r = execute(function() result = write() end)
        assert.same({ id = 1 }, result)
        assert.equal("done", r.effects[1].status)
    end)

    it("is only recorded in a plan", function()
        local applied = false
        local r = execute(function()
            local result = write { apply = function() applied = true end, name = "machine" }
            assert.is_true(effect.is_unknown(result))
        end, { plan = true })
        assert.is_false(applied)
        assert.equal("done", r.status)
        assert.equal("planned", r.effects[1].status)
    end)

    it("that fails is recorded as failed, and raises", function()
        local r = execute(function()
            write { apply = function() err.raise { code = "fly.server", msg = "500" } end }
        end)
        assert.equal("fly.server", r.error.code)
        assert.equal("failed", r.effects[1].status)
        assert.is_true(r.effects[1].began)
    end)

    it("does not begin in a cancelled run", function()
        local applied = false
        execute(function()
            local child = task.spawn(function()
                pcall(task.sleep, 60)
                write { apply = function() applied = true end }
            end)
            task.sleep(0.001)
            child.cancel()
        end)
        assert.is_false(applied)
    end)

    it("refuses unknown and missing keys", function()
        local cases = {
            { { sumary = "x" }, "input.unknown_option" },
            { { apply = "x" }, "input.invalid" },
        }
        for _, case in ipairs(cases) do
            local ok, e = pcall(write, case[1])
            assert.is_false(ok)
            assert.equal(case[2], e.code)
        end
    end)

    it("creates, updates, destroys or runs", function()
        local function action(kind, before, after)
            return effect.action { kind = kind, before = before, after = after }
        end
        assert.equal("update", action("x.create", 1, 2))
        assert.equal("create", action("x.put", nil, 2))
        assert.equal("destroy", action("x.put", 1))
        assert.equal("create", action("git.push"))
        assert.equal("update", action("fly.machine.start"))
        assert.equal("destroy", action("fly.machine.destroy"))
        assert.equal("run", action("proc.run"))
    end)
end)

describe("an unknown value", function()
    local value = effect.unknown "release"

    it("gives unknown values when it is read or joined", function()
        assert.is_true(effect.is_unknown(value.image.digest))
        assert.is_true(effect.is_unknown("v" .. value))
        assert.is_true(effect.is_unknown(value.count + 1))
        assert.equal("(known after apply)", tostring(value.image))
    end)

    it("cannot be decided on, called, changed or encoded", function()
        local cases = {
            function() return value.count > value.other end,
            function() return value.text:match("x") end,
            function() value.x = 1 end,
            function() return #value end,
        }
        for _, case in ipairs(cases) do
            local ok, e = pcall(case)
            assert.is_false(ok)
            assert.equal("plan.unknown", e.code)
        end
        assert.is_false(pcall(json.encode, { image = value }))
        assert.is_false(pcall(json.body, { image = value }))
    end)

    it("is accepted as any option", function()
        local check = require "dgrun.core.check"
        check.options({ image = value }, { image = "string" }, "cron.sync")
    end)
end)
