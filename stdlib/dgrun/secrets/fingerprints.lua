-- What dgrun remembers of the secrets that it set on an app: never a value, but a keyed fingerprint
-- of it and the digest that Fly answered. While Fly's digest is still that one, the app has the
-- value of that fingerprint.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local store = require "dgrun.run.store"

local M = {}

---Hex in groups of three. The store masks what looks like a secret, and a short value could look
---like a part of a longer row of digits.
local function grouped(hex)
    return (hex:gsub("%x%x%x", "%0."))
end

local function opaque(text)
    return grouped(check(require("host.digest").sha256(text)))
end

---Rows of the local Fly are other ones; names are hashed, since they too might be masked.
local function row(kind, app, name)
    local world = api.is_sandbox() and "sandbox" or "fly"
    return ("secrets.%s:%s"):format(kind,
        opaque(table.concat({ world, app, name or "" }, ":")))
end

---The key of all fingerprints of a store.
---@return string
function M.key()
    return store.kv_get "secrets.key"
        or store.kv_add("secrets.key", check(require("host.digest").random_key()))
end

---The same for one name on every app, so that apps can be compared.
---@param key string
---@param name string
---@param value string|host.secret.value
---@return string
function M.fingerprint(key, name, value)
    return grouped(check(require("host.digest").fingerprint(value, key .. name)))
end

---The fingerprint of the value that is on the app.
---@param app string
---@param name string
---@param digest string Fly's
---@return string? # nil when dgrun does not know it
---@return "others"|"never"? why it does not: somebody else set it since, or dgrun never did
function M.on_app(app, name, digest)
    local kept = store.kv_get(row("set", app, name))
    if not kept then
        return nil, "never"
    elseif kept.digest ~= opaque(digest) then
        return nil, "others"
    end
    return kept.fingerprint
end

---@param app string
---@param name string
---@param digest string Fly's
---@param fingerprint string
function M.keep(app, name, digest, fingerprint)
    store.kv_put(row("set", app, name), { digest = opaque(digest), fingerprint = fingerprint })
end

---Takes nothing for known about a secret any more.
---@param app string
---@param name string
function M.forget(app, name)
    store.kv_put(row("set", app, name), { digest = "", fingerprint = "" })
end

---@param app string
---@return integer? # the version of the last write of dgrun
function M.version(app)
    return store.kv_get(row("version", app))
end

---@param app string
---@param version integer
function M.keep_version(app, version)
    store.kv_put(row("version", app), version)
end

return M
