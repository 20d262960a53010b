---@meta host.gate

---The gate of plan mode: once closed, primitives refuse what would change the world.
---@class host.gate
local M = {}

---Closes it for the rest of the process.
function M.close() end

---@return boolean
function M.closed() end

---Files below this folder may be written in a plan.
---@param directory string absolute, and there
function M.allow(directory) end

return M
