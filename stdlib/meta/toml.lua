---@meta host.toml

---TOML 1.0 by toml++.
---@class host.toml
local M = {}

---@param text string 1 MiB at most
---@param opts? {source?: string} source: for messages
---@return table? value
---@return dgrun.err? toml.syntax, with `line` and `column`
function M.decode(text, opts) end

return M
