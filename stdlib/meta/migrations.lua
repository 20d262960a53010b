---@meta host.migrations

---Alembic's revision files, read without Python.
---@class host.migrations
local M = {}

---@param text string of a revision file
---@param source string for messages
---@return {revision: string, down: string[], labels: string[], depends_on: string[],
---  message: string, line: integer}|false|nil # false: it declares no revision
---@return dgrun.err?
function M.scan(text, source) end

return M
