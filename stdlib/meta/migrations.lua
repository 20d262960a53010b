---@meta host.migrations

---Alembic's revision files, read without Python.
---@class host.migrations
local M = {}

---@class host.migrations.revision
---@field revision string
---@field down string[]
---@field labels string[]
---@field depends_on string[]
---@field message string
---@field file string
---@field line integer

---@param text string of a revision file
---@param file string for messages
---@return host.migrations.revision|false|nil # false: it declares no revision
---@return dgrun.err?
function M.scan(text, file) end

---Reads several files of a folder.
---@param opts {folder: string, names: string[], limit: integer} limit: bytes of a file
---@return (host.migrations.revision|false)[]? # one result for each name
---@return dgrun.err?
function M.read(opts) end

return M
