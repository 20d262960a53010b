---@meta host.task

---Primitives of the scheduler; scripts use dgrun.task, which is structured.
---@class host.task
local M = {}

---@class host.task.handle
local handle = {}

---Waits for the task's end.
---@return true? ok
---@return any … the task's results, or nil and its error object
function handle:join() end

---Asks the task to stop: its current wait and all later waits return nil, {code = "cancelled"}.
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

---While shielded, a cancel does not reach the waits of this task. Calls nest.
---@param on boolean
function M.shield(on) end

---@return true? ok
---@return dgrun.err? cancelled
function M.check() end

---@return integer? signal the signal that stopped the run
function M.signal() end

---Sets the function that a task runs, shielded, after it was abandoned for waiting despite a
---cancel.
---@param f fun(e: dgrun.err) raises the error in the end
function M.on_abandoned(f) end

---@return {tasks: integer, daemons: integer, handles: integer}
function M.stats() end

return M
