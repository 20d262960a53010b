---@meta host.stdin

---What others give this process on its standard input.
---@class host.stdin
local M = {}

---All of it, when it has ended.
---@param name string of the sealed value
---@param opts? {limit?: integer} bytes, 1 MiB unless given
---@return host.secret.value?
---@return dgrun.err? stdin.too_large, fs.failed
function M.read(name, opts) end

return M
