---@meta host.toml

---TOML 1.0 by toml++.
---@class host.toml
---@field scalar_metatable table of what `typed` makes of a float, a date or an integer beyond 2^53:
---  {kind = "float", number} or {kind = "integer", "date-time", …, text}
local M = {}

---@param text string 1 MiB at most
---@param opts? {source?: string, typed?: boolean} source: for messages
---@return table? value
---@return dgrun.err? toml.syntax, with `line` and `column`
function M.decode(text, opts) end

return M
