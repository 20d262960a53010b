---@meta host.yaml

---YAML 1.2 core by libyaml: no tags that construct, no duplicate keys, limits on depth, size and
---aliases.
---@class host.yaml
---@field scalar_metatable table of what `typed` makes of a float or an integer beyond 2^53:
---  {kind = "float", number} or {kind = "integer", text}
local M = {}

---@param text string
---@param opts? {source?: string, typed?: boolean} source: for messages
---@return any value
---@return dgrun.err? yaml.syntax and others, with `line` and `column`
function M.decode(text, opts) end

return M
