-- What dgrun remembers of the secrets that it set on an app: never a value, but a keyed fingerprint
-- of it and the digest that Fly answered. While Fly's digest is still that one, the app has the
-- value of that fingerprint.
local check = require "dgrun.core.check"
local rows = require "dgrun.fly.secret_rows"
local store = require "dgrun.run.store"

local M = {}

local function row(app, name)
    return rows.key("set", app, name)
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
    return rows.grouped(check(require("host.digest").fingerprint(value, key .. name)))
end

---The fingerprint of the value that is on the app.
---@param app string
---@param name string
---@param digest string Fly's
---@return string? # nil when dgrun does not know it
---@return "others"|"never"? why it does not: somebody else set it since, or dgrun never did
function M.on_app(app, name, digest)
    local kept = store.kv_get(row(app, name))
    if not kept then
        return nil, "never"
    elseif kept.digest ~= rows.opaque(digest) then
        return nil, "others"
    end
    return kept.fingerprint
end

---@param app string
---@param name string
---@param digest string Fly's
---@param fingerprint string
function M.keep(app, name, digest, fingerprint)
    store.kv_put(row(app, name), { digest = rows.opaque(digest), fingerprint = fingerprint })
end

---Takes nothing for known about a secret any more.
---@param app string
---@param name string
function M.forget(app, name)
    store.kv_put(row(app, name), { digest = "", fingerprint = "" })
end

return M
