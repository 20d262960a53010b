---@meta host.yaml

---YAML 1.2 core by libyaml: no tags that construct, no duplicate keys, limits on depth, size and
---aliases.
---@class host.yaml
local M = {}

---@param text string
---@param opts? {source?: string} source: for messages
---@return any value
---@return dgrun.err? yaml.syntax and others, with `line` and `column`
function M.decode(text, opts) end

return M
