-- Where other processes find the local Fly of a folder: a private file, written once it answers.
-- The process holds the lock of the folder as long as it lives: the lock says whether the address
-- is still good.
local check = require "dgrun.core.check"
local fs = require "host.fs"
local json = require "dgrun.core.json"

local M = {}

local FILE = "address.json"

---@class sandbox.address
---@field url string
---@field port integer
---@field pid integer
---@field started number seconds since 1970
---@field build string of its binary: build.lua
---@field background boolean

---@param dir string
---@return sandbox.address?
function M.read(dir)
    local text = fs.read(dir / FILE, { limit = 65536 })
    return text and json.decode(text, dir / FILE) or nil
end

---@param dir string
---@param address sandbox.address
function M.write(dir, address)
    check(fs.write(dir / FILE, json.encode(address)))
end

---Takes the address of an earlier process away, so that no one asks there.
---@param dir string
---@return sandbox.address?
function M.take(dir)
    local former = M.read(dir)
    if former then
        check(fs.remove(dir / FILE))
    end
    return former
end

return M
