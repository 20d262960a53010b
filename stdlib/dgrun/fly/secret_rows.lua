-- The rows of the store that are about secrets of apps: what they are called, and how digests stand
-- in them.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"

local M = {}

---Hex in groups of three. The store masks what looks like a secret, and a short value could look
---like a part of a longer row of digits.
---@param hex string
---@return string
function M.grouped(hex)
    return (hex:gsub("%x%x%x", "%0."))
end

---@param text string
---@return string
function M.opaque(text)
    return M.grouped(check(require("host.digest").sha256(text)))
end

---Rows of the local Fly are other ones; names are hashed, since they too might be masked.
---@param kind "set"|"version"
---@param app string
---@param name? string of a secret
---@return string
function M.key(kind, app, name)
    local world = api.is_sandbox() and "sandbox" or "fly"
    return ("secrets.%s:%s"):format(kind,
        M.opaque(table.concat({ world, app, name or "" }, ":")))
end

return M
