---@meta host.yaml

---YAML 1.2 core by libyaml: no tags but `!!str`, `!!seq` and `!!map`, no duplicate keys, no whole
---numbers beyond 2^53, one document, no merge keys (`<<` is a key like others), limits on depth,
---size and aliases.
---@class host.yaml
---@field scalar_metatable table of what `typed` makes of a float or an integer beyond 2^53:
---  {kind = "float", number} or {kind = "integer", text}
local M = {}

---With `positions` the second result is where the value is: see dgrun.core.positions.
---@param text string
---@param opts? {source?: string, typed?: boolean, positions?: boolean} source: for messages
---@return any value
---@return dgrun.err|dgrun.position|nil # yaml.syntax and others, with `line` and `column`
function M.decode(text, opts) end

return M
