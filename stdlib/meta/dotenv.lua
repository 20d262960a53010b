---@meta host.dotenv

---NAME=value files: `export`, comments, also after a value, single quotes, double quotes with
---escapes, multiline values. Nothing is expanded or run.
---@class host.dotenv
local M = {}

---@class host.dotenv.entry
---@field name string
---@field value host.secret.value
---@field line integer
---@field expands? true it contains ${…}, $(…) or a backquote, unescaped and not in single quotes

---@param path string
---@param opts? {names?: string[]} seal, and therefore mask, only these names
---@return host.dotenv.entry[]?
---@return dgrun.err? dotenv.syntax with source and line, dotenv.not_found, …
function M.read(path, opts) end

---@param text string|host.secret.value
---@param source? string for messages
---@param opts? {names?: string[]}
---@return host.dotenv.entry[]?
---@return dgrun.err?
function M.parse(text, source, opts) end

return M
