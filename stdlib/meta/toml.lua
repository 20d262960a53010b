---@meta host.toml

---TOML 1.0 by toml++: keys of 64 parts at most, no whole numbers beyond 2^53.
---@class host.toml
---@field scalar_metatable table of what `typed` makes of a float, a date or an integer beyond 2^53:
---  {kind = "float", number} or {kind = "integer", "date-time", …, text}
local M = {}

---With `positions` the second result is where the value is: see dgrun.core.positions.
---@param text string 1 MiB at most
---@param opts? {source?: string, typed?: boolean, positions?: boolean} source: for messages
---@return table? value
---@return dgrun.err|dgrun.position|nil # toml.syntax, with `line` and `column`
function M.decode(text, opts) end

return M
