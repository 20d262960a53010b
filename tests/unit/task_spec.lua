local task = require "dgrun.task"
local err = require "dgrun.err"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

describe("dgrun.task", function()
    it("gives the results of all in order", function()
        local results = task.all {
            function() task.sleep(0.01) return "slow" end,
            function() return "fast" end,
        }
        assert.same({ "slow", "fast" }, results)
    end)

    it("maps with a limit", function()
        local running, most = 0, 0
        local squares = task.map({ 1, 2, 3, 4, 5, 6 }, { limit = 2 }, function(x)
            running = running + 1
            most = math.max(most, running)
            task.sleep(0.001)
            running = running - 1
            return x * x
        end)
        assert.same({ 1, 4, 9, 16, 25, 36 }, squares)
        assert.equal(2, most)
    end)

    it("cancels the siblings of a task that fails, and ends after them", function()
        local cleaned = false
        local e = caught(task.all, {
            function()
                task.defer(function() cleaned = true end)
                task.sleep(60)
            end,
            function() err.raise { code = "test.failed", msg = "no" } end,
        })
        assert.equal("test.failed", e.code)
        assert.is_true(cleaned)
    end)

    it("keeps the trace of a plain Lua error", function()
        local e = caught(task.all, { function() error("boom") end })
        assert.equal("lua.error", e.code)
        assert.matches("boom", e.msg)
        assert.matches("task_spec", e.trace)
    end)

    it("ends a function that takes too long", function()
        local e = caught(task.timeout, 0.01, function() task.sleep(60) end)
        assert.equal("timeout", e.code)
        assert.equal(7, task.timeout(60, function() return 7 end))
    end)

    it("races: the first wins, the others are cancelled", function()
        local stopped
        local winner = task.race {
            function() task.sleep(0.001) return "first" end,
            function()
                local ok, e = pcall(task.sleep, 60)
                stopped = not ok and e.code
                return "late"
            end,
        }
        assert.equal("first", winner)
        assert.equal("cancelled", stopped)
    end)

    it("runs deferred cleanup in reverse order, shielded from the cancel", function()
        local order = {}
        local child
        task.scope(function()
            child = task.spawn(function()
                task.defer(function() order[#order + 1] = "first deferred" end)
                task.defer(function()
                    task.sleep(0.001)
                    order[#order + 1] = "last deferred"
                end)
                task.sleep(60)
            end)
            task.sleep(0)
            child.cancel()
        end)
        assert.same({ "last deferred", "first deferred" }, order)
    end)

    it("gives cleanup a deadline", function()
        local before = task.cleanup_deadline
        task.cleanup_deadline = 0.01
        local e = caught(task.scope, function()
            task.defer(function() task.sleep(60) end)
        end)
        task.cleanup_deadline = before
        assert.equal("timeout", e.code)
    end)

    it("cancels what waits in a cancelled parent, to any depth", function()
        local reached = {}
        task.scope(function()
            local child = task.spawn(function()
                task.all {
                    function()
                        task.all { function()
                            local ok = pcall(task.sleep, 60)
                            reached[#reached + 1] = ok
                        end }
                    end,
                }
            end)
            task.sleep(0.001)
            child.cancel()
        end)
        assert.same({ false }, reached)
    end)

    it("refuses to wait where it cannot", function()
        local e = caught(string.gsub, "x", "x", function() task.sleep(0) end)
        assert.matches("string.gsub", tostring(e))
        e = caught(coroutine.wrap(function() task.sleep(0) end))
        assert.matches("coroutine made by hand", tostring(e))
    end)

    it("has thousands of waits without leaving one behind", function()
        local functions = {}
        for i = 1, 2000 do
            functions[i] = function()
                task.sleep(0)
                collectgarbage("step")
                return i
            end
        end
        assert.equal(2000, #task.all(functions))
    end)
end)
