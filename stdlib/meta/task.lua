---@meta host.task

---The scheduler's own words; scripts use dgrun.task, which is structured.
---@class host.task
local M = {}

---@class host.task.handle
local handle = {}

---Waits for the task's end.
---@return true? ok
---@return any … the task's results, or nil and its error object
function handle:join() end

---Asks the task to stop: its current wait and all later ones answer nil, {code = "cancelled"}.
function handle:cancel() end

---@return "running"|"done"|"failed"
function handle:status() end

---@return string
function handle:name() end

---@param f function
---@param opts? {name?: string, daemon?: boolean} a daemon does not keep the process alive
---@return host.task.handle
function M.spawn(f, opts) end

---@return host.task.handle?
function M.current() end

---While shielded, a cancel does not reach the waits of this task. Counts.
---@param on boolean
function M.shield(on) end

---@return true? ok
---@return dgrun.err? cancelled
function M.check() end

---@return integer? signal the one that asked the run to stop
function M.signal() end

---What a task goes on with, shielded, that was cut off because it went on waiting after a cancel.
---@param f fun(e: dgrun.err) raises the error in the end
function M.on_abandoned(f) end

---@return {tasks: integer, daemons: integer, handles: integer}
function M.stats() end

return M
