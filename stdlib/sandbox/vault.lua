-- The values of secrets. Fly keeps them readable for machines only; so does this: encrypted in a
-- file of its own, with a key in another, both private.
local fs = require "host.fs"
local json = require "dgrun.core.json"
local check = require "dgrun.core.check"
local digest = require "host.digest"

local M = {}

local Vault = {}
Vault.__index = Vault

function M.open(dir, persist)
    local text = fs.read(dir / "vault.json", { limit = 16 * 1024 * 1024 })
    local key = fs.read(dir / "vault.key", { limit = 1024 })
    local vault = setmetatable({
        dir = dir, persist = persist, key = key or digest.random_key(),
        values = text and json.decode(text, "vault.json") or {},
    }, Vault)
    if persist and not key then
        check(fs.write(dir / "vault.key", vault.key))
    end
    return vault
end

function Vault:save()
    if self.persist then
        check(fs.write(self.dir / "vault.json", json.encode(self.values)))
    end
end

---@param app string
---@param name string
---@param version integer the app's secrets version with which it begins
---@param value string|userdata? nil ends it
function Vault:put(app, name, version, value)
    local of_app = self.values[app] or {}
    self.values[app] = of_app
    local history = of_app[name] or json.array {}
    of_app[name] = history
    history[#history + 1] = {
        version = version, sealed = value and digest.encrypt(value, self.key) or nil,
    }
    self:save()
end

---Removes all that belongs to an app.
function Vault:forget(app)
    if self.values[app] then
        self.values[app] = nil
        self:save()
    end
end

---All secrets of an app as they were at a version.
---@return table<string, userdata> sealed values
function Vault:at(app, version)
    local found = {}
    for name, history in pairs(self.values[app] or {}) do
        for _, entry in ipairs(history) do
            if entry.version <= version then
                found[name] = entry.sealed and check(digest.decrypt(entry.sealed, self.key, name))
                    or nil
            end
        end
    end
    return found
end

return M
