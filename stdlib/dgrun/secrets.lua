-- Secrets of an app. Fly's digests are opaque, so the store keeps, for each secret that dgrun set,
-- a keyed fingerprint of the value and the digest that Fly answered: unchanged means both match.
local api = require "dgrun.fly.api"
local check = require "dgrun.check"
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local store = require "dgrun.store"

local M = {}

local function path(app)
    return ("/v1/apps/%s/secrets"):format(app)
end

---@param opts {app: string}
---@return {name: string, digest: string}[] sorted by name; values cannot be read
function M.list(opts)
    check.options(opts, { app = "string" }, "secrets.list")
    local body, status = api.machines("GET", path(opts.app), { ok = { [404] = true } })
    if status == 404 then
        require("dgrun.fly.machines").app(opts.app)
    end
    return body.secrets
end

---The version of the app's secrets that dgrun set last; machines must see at least this one.
---@param app string
---@return integer?
function M.version(app)
    if not require("dgrun.run").current() then
        return nil
    end
    return store.kv_get("secrets.version:" .. app)
end

local function fingerprint_key()
    local key = store.kv_get "secrets.key"
    if not key then
        key = check(require("host.digest").random_key())
        store.kv_put("secrets.key", key)
    end
    return key
end

local function known_as(app, name)
    return store.kv_get(("secrets.set:%s:%s"):format(app, name)) or {}
end

---Names whose value is not known to be on the app, and those that are.
local function compare(opts, digests, key)
    local fingerprint = require("host.digest").fingerprint
    local changed, unchanged = {}, {}
    for name, value in pairs(opts.secrets) do
        local known = known_as(opts.app, name)
        local same = digests[name] and known.digest == digests[name]
            and known.fingerprint == fingerprint(value, key .. name)
        table.insert(same and unchanged or changed, name)
    end
    table.sort(changed)
    table.sort(unchanged)
    return changed, unchanged
end

local function digests_of(list)
    local digests = {}
    for _, secret in ipairs(list) do
        digests[secret.name] = secret.digest
    end
    return digests
end

---Keeps what is needed to see next time that nothing changed.
local function remember(opts, names, digests, version, key)
    local fingerprint = require("host.digest").fingerprint
    for _, name in ipairs(names) do
        store.kv_put(("secrets.set:%s:%s"):format(opts.app, name), {
            digest = digests[name], fingerprint = fingerprint(opts.secrets[name], key .. name),
        })
    end
    store.kv_put("secrets.version:" .. opts.app, version)
end

local function set(opts, names, key)
    local values = {}
    for _, name in ipairs(names) do
        values[name] = opts.secrets[name]
    end
    local answer = api.machines("POST", path(opts.app), { json = { values = values } })
    local digests = digests_of(M.list { app = opts.app })
    for _, name in ipairs(names) do
        if not digests[name] then
            err.raise { code = "secrets.not_set", op = "secrets.sync",
                msg = ("%s is not on %s after it was set"):format(name, opts.app) }
        end
    end
    remember(opts, names, digests, answer.version, key)
    return { version = answer.version }
end

---Before and after of a plan: names only.
local function shown(names, digests)
    local before, after = {}, {}
    for _, name in ipairs(names) do
        before[name] = digests[name] and "set" or nil
        after[name] = digests[name] and "set anew" or "set"
    end
    return next(before) and before, after
end

---@class dgrun.secrets.sync
---@field app string
---@field secrets table<string, userdata|string> sealed values, or plain text for literals
---@field apply? boolean update the machines now, instead of leaving it to the deploy that follows

---Sets what changed, all at once.
---@param opts dgrun.secrets.sync
---@return {version?: integer, set: string[], unchanged: string[]}
function M.sync(opts)
    check.options(opts, { app = "string", secrets = "table", apply = "boolean?" }, "secrets.sync")
    local digests = digests_of(M.list { app = opts.app })
    local key = fingerprint_key()
    local changed, unchanged = compare(opts, digests, key)
    if #changed == 0 then
        effect.note(("%d secret(s) of %s are as they should be"):format(#unchanged, opts.app))
    else
        local before, after = shown(changed, digests)
        effect.write {
            kind = "fly.secrets.set", target = opts.app, before = before or nil, after = after,
            summary = ("set %s"):format(table.concat(changed, ", ")), name = "secrets",
            apply = function() return set(opts, changed, key) end,
        }
    end
    if opts.apply then
        require("dgrun.fly.refresh").secrets(opts.app, #changed > 0)
    end
    return { version = M.version(opts.app), set = changed, unchanged = unchanged }
end

return M
