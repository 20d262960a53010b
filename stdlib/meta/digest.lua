---@meta host.digest

---@class host.digest
local M = {}

---@param bytes string|host.secret.value
---@return string? hex
---@return dgrun.err?
function M.sha256(bytes) end

---HMAC-SHA256: shows whether values are equal, and resists lookup in tables of common values.
---@param bytes string|host.secret.value
---@param key string|host.secret.value
---@return string? hex
---@return dgrun.err?
function M.fingerprint(bytes, key) end

return M
