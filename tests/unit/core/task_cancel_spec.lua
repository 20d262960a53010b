-- Every kind of wait ends when it is cancelled, long before its own end, and leaves nothing.
local check = require "dgrun.core.check"
local host_task = require "host.task"
local task = require "dgrun.core.task"
local waits = require "support.waits"
local until_true = require("support.wait").until_true
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

---No wait may need longer than this to end. SQLite by itself gives a lock up after ten seconds.
local deadline = 8

---The results of the task that was cancelled.
local function ended(waiter)
    return task.timeout(deadline, function()
        local joined, result, e = waiter:join()
        assert.is_true(joined, tostring(result))
        return result, e
    end)
end

local function left_nothing(wait)
    if wait.gone then
        until_true(wait.gone)
    end
end

for _, kind in ipairs(waits.kinds) do
    local name, make = kind[1], kind[2]
    describe("the wait for " .. name, function()
        it("ends when it is cancelled: " .. name, function()
            local wait = make()
            local waiter = host_task.spawn(wait.wait)
            if wait.begun then
                until_true(wait.begun)
            else
                task.sleep(0.05)
            end
            assert.equal("running", waiter:status())
            waiter:cancel()
            local result, e = ended(waiter)
            assert.is_nil(result)
            assert.equal("cancelled", e.code)
            left_nothing(wait)
        end)

        it("does not begin in a cancelled task: " .. name, function()
            local wait = make()
            local waiter = host_task.spawn(wait.wait)
            waiter:cancel()
            local result, e = ended(waiter)
            assert.is_nil(result)
            assert.equal("cancelled", e.code)
            left_nothing(wait)
        end)

        it("ends at a deadline: " .. name, function()
            local wait = make()
            local ok, e = pcall(task.timeout, deadline, function()
                local inner, reason = pcall(task.timeout, 0.1, function()
                    return check(wait.wait())
                end)
                assert.is_false(inner)
                assert.equal("timeout", reason.code)
                assert.matches("0.1 s", reason.msg)
            end)
            assert.is_true(ok, tostring(e))
            left_nothing(wait)
        end)
    end)
end

local often = {
    ["a timer"] = true, ["HTTP: the headers"] = true, ["HTTP: the next bytes of a stream"] = true,
    ["a child"] = true, ["a statement of SQLite"] = true, ["a lock of SQLite"] = true,
    ["PostgreSQL: the first answer"] = true, ["a task of a task"] = true,
    ["a request to a server"] = true,
}

describe("a cancel at any moment", function()
    for _, kind in ipairs(waits.kinds) do
        if often[kind[1]] then
            it("ends the wait for " .. kind[1], function()
                local wait = kind[2]()
                for i = 1, 60 do
                    local waiter = host_task.spawn(wait.wait)
                    if i % 3 > 0 then
                        task.sleep(i % 3 == 1 and 0 or i / 10000)
                    end
                    waiter:cancel()
                    local result, e = ended(waiter)
                    assert.is_nil(result)
                    assert.equal("cancelled", e.code)
                end
                left_nothing(wait)
            end)
        end
    end
end)
