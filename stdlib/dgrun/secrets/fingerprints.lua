-- What dgrun remembers about the secrets that it set on an app: never a value, but a keyed
-- fingerprint of the value and the digest that Fly returned. While Fly reports the same digest, the
-- app has the value with that fingerprint.
local app_secrets = require "dgrun.fly.secrets"
local check = require "dgrun.core.check"
local store = require "dgrun.run.store"

local M = {}

local function row(app, name)
    return app_secrets.row_key("set", app, name)
end

---The key of all fingerprints of a store.
---@return string
function M.key()
    return store.kv_get "secrets.key"
        or store.kv_add("secrets.key", check(require("host.digest").random_key()))
end

---The fingerprint of a value. It is the same on every app, so that apps can be compared.
---@param key string
---@param name string
---@param value string|host.secret.value
---@return string
function M.fingerprint(key, name, value)
    return app_secrets.grouped(check(require("host.digest").fingerprint(value, key .. name)))
end

---The fingerprint of the app's current value.
---@param app string
---@param name string
---@param digest string Fly's
---@return string? # nil when unknown
---@return "others"|"never"? why unknown: someone else changed the secret, or dgrun never set it
function M.on_app(app, name, digest)
    local kept = store.kv_get(row(app, name))
    if not kept then
        return nil, "never"
    elseif kept.digest ~= app_secrets.opaque(digest) then
        return nil, "others"
    end
    return kept.fingerprint
end

---@param app string
---@param name string
---@param digest string Fly's
---@param fingerprint string
function M.keep(app, name, digest, fingerprint)
    store.kv_put(row(app, name), { digest = app_secrets.opaque(digest), fingerprint = fingerprint })
end

---Forgets the fingerprint of a secret.
---@param app string
---@param name string
function M.forget(app, name)
    store.kv_put(row(app, name), { digest = "", fingerprint = "" })
end

return M
