local task = require "dgrun.core.task"
local err = require "dgrun.core.err"
local host_task = require "host.task"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

---Runs with so many seconds for a cleanup.
local function with_deadline(seconds, body)
    local before = task.cleanup_deadline
    task.cleanup_deadline = seconds
    local ok, e = pcall(body)
    task.cleanup_deadline = before
    if not ok then
        error(e, 0)
    end
end

describe("dgrun.core.task", function()
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
        with_deadline(0.01, function()
            local e = caught(task.scope, function()
                task.defer(function() task.sleep(60) end)
            end)
            assert.equal("timeout", e.code)
        end)
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

    it("ends the inner one of two deadlines by its own, the outer one by the outer", function()
        local told
        local e = caught(task.timeout, 60, function()
            task.timeout(0.01, function() task.sleep(60) end)
        end)
        assert.matches("within 0.01 s", e.msg)
        e = caught(task.timeout, 0.02, function()
            task.timeout(60, function()
                local ok, inner = pcall(task.timeout, 50, function() task.sleep(60) end)
                told = not ok and inner.code
                error(inner, 0)
            end)
        end)
        assert.equal("timeout", e.code)
        assert.matches("within 0.02 s", e.msg)
        assert.equal("cancelled", told)
        assert.equal("late", task.timeout(60, function()
            pcall(task.timeout, 0.01, function() task.sleep(60) end)
            task.sleep(0.01)
            return "late"
        end))
    end)

    it("keeps the first of two errors at a deadline", function()
        local e = caught(task.timeout, 60, function() error("boom") end)
        assert.equal("lua.error", e.code)
        assert.matches("boom", e.msg)
        assert.matches("task_spec", e.trace)
        e = caught(task.timeout, 0.01, function()
            pcall(task.sleep, 60)
            error("after the deadline")
        end)
        assert.equal("timeout", e.code)
    end)

    it("runs the other cleanup when one hangs, and tells the first error", function()
        local order = {}
        local function note(word) order[#order + 1] = word end
        with_deadline(0.02, function()
            local e = caught(task.scope, function()
                task.defer(function() note "first" end)
                task.defer(function() err.raise { code = "test.cleanup", msg = "no" } end)
                task.defer(function()
                    note "hangs"
                    task.defer(function() note "cleanup of the cleanup" end)
                    task.sleep(60)
                end)
                task.defer(function() error("broken") end)
                task.defer(function() task.all { function() note "last" end } end)
                err.raise { code = "test.first", msg = "first" }
            end)
            assert.equal("test.first", e.code)
        end)
        assert.same({ "last", "hangs", "cleanup of the cleanup", "first" }, order)
        local e = caught(task.scope, function()
            task.defer(function() error("second") end)
            task.defer(function() err.raise { code = "test.cleanup", msg = "no" } end)
        end)
        assert.equal("test.cleanup", e.code)
    end)

    it("does not hide the error of a child behind a cleanup", function()
        local e = caught(task.scope, function()
            task.defer(function() error("cleanup") end)
            task.spawn(function() err.raise { code = "test.child", msg = "no" } end)
        end)
        assert.equal("test.child", e.code)
        e = caught(task.all, { function()
            task.defer(function() error("cleanup") end)
            err.raise { code = "test.child", msg = "no" }
        end })
        assert.equal("test.child", e.code)
    end)

    it("lets cleanup and shielded work go on when they are cancelled", function()
        local done = {}
        task.scope(function()
            local cleaning = task.spawn(function()
                task.defer(function()
                    task.all { function() task.sleep(0.03) end }
                    done[#done + 1] = "cleaned"
                end)
            end)
            local shielded = task.spawn(function()
                task.shield(function()
                    task.all { function() task.sleep(0.01) end }
                    done[#done + 1] = "shielded"
                end)
                task.sleep(60)
            end)
            task.sleep(0.002)
            cleaning.cancel()
            shielded.cancel()
            cleaning.cancel()
        end)
        assert.same({ "shielded", "cleaned" }, done)
    end)

    it("ends children that are started after the cancel", function()
        local code
        task.scope(function()
            local child = task.spawn(function()
                pcall(task.sleep, 60)
                local _, e = pcall(task.all, { function() task.sleep(60) end })
                code = e.code
            end)
            task.sleep(0)
            child.cancel()
        end)
        assert.equal("cancelled", code)
    end)

    local stubborn = {
        ["asks the host again and again"] = function()
            repeat until require("host.time").sleep(60)
        end,
        ["catches every error"] = function()
            while true do pcall(task.sleep, 60) end
        end,
        ["catches every error with a handler"] = function()
            while true do
                xpcall(function() task.sleep(60) end, function(e)
                    return e.code .. debug.traceback()
                end)
            end
        end,
        ["catches all within a scope"] = function()
            while true do
                pcall(task.scope, function()
                    task.spawn(function() task.sleep(60) end)
                end)
            end
        end,
        ["only asks whether it is cancelled"] = function()
            pcall(task.sleep, 60)
            while true do pcall(task.checkpoint) end
        end,
        ["sorts meanwhile"] = function()
            local list = {}
            while true do
                pcall(task.sleep, 60)
                for i = 1, 10 do
                    list[i] = -i
                end
                table.sort(list, function(a, b) return a < b end)
            end
        end,
        ["waits for what is there"] = function()
            local done = host_task.spawn(function() end)
            while true do pcall(done.join, done) end
        end,
    }
    for what, go_on in pairs(stubborn) do
        it("ends a child that " .. what .. " after the cancel", function()
            local order = {}
            task.timeout(30, function()
                task.scope(function()
                    local child = task.spawn(function()
                        task.defer(function() order[#order + 1] = "outer" end)
                        task.scope(function()
                            task.defer(function()
                                task.sleep(0.001)
                                order[#order + 1] = "inner"
                            end)
                            task.spawn(function()
                                task.defer(function() order[#order + 1] = "child" end)
                                task.sleep(60)
                            end)
                            go_on()
                        end)
                    end)
                    task.sleep(0.005)
                    child.cancel()
                    local joined, e = child.join()
                    assert.is_nil(joined)
                    assert.equal("cancelled", e.code)
                    assert.matches("kept waiting", e.msg)
                end)
            end)
            assert.same({ "child", "inner", "outer" }, order)
        end)

        it("ends a cleanup that " .. what .. " after its deadline", function()
            local ran = false
            with_deadline(0.01, function()
                local e = caught(task.timeout, 30, function()
                    task.scope(function()
                        task.defer(function() ran = true end)
                        task.defer(go_on)
                    end)
                end)
                assert.equal("timeout", e.code)
                assert.matches("0.01", e.msg)
            end)
            assert.is_true(ran)
        end)
    end

    it("refuses to wait where it cannot", function()
        local e = caught(string.gsub, "x", "x", function() task.sleep(0) end)
        assert.matches("string.gsub", tostring(e))
        e = caught(coroutine.wrap(function() task.sleep(0) end))
        assert.matches("inside a raw Lua coroutine", tostring(e))
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
