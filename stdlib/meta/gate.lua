---@meta host.gate

---The gate of plan mode: once it is closed, primitives refuse external changes.
---@class host.gate
local M = {}

---Closes the gate for the rest of the process.
function M.close() end

---@return boolean
function M.closed() end

return M
