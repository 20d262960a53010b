---@meta host.stdin

---The standard input of this process.
---@class host.stdin
local M = {}

---Reads standard input to its end.
---@param name string of the sealed value
---@param opts? {limit?: integer} bytes, 1 MiB unless given
---@return host.secret.value?
---@return dgrun.err? stdin.too_large, fs.failed
function M.read(name, opts) end

return M
