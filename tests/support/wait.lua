-- Waits, with a deadline, for what happens in its own time: the end of a process, a line in a log.
-- It is real time that passes, also in a test on the paused clock.
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

local DEADLINE = 60

---@generic T
---@param f fun(): T? looks; what it returns, once that is true, is returned
---@param what? string names it when it never happens
---@return T
function M.until_true(f, what)
    local paused = time.pause(false)
    local deadline = time.now() + DEADLINE
    local ok, value = pcall(function()
        local value = f()
        while not value and time.now() < deadline do
            task.sleep(0.01)
            value = f()
        end
        return value
    end)
    time.pause(paused)
    if not ok then
        error(value, 0)
    end
    return value or error(("never, in %d s: %s"):format(DEADLINE,
        what or "what the test waits for"), 2)
end

return M
