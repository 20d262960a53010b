-- Secrets of an app. Fly's digests are opaque, so the store keeps, for each secret that dgrun set,
-- a keyed fingerprint of the value and the digest that Fly answered: unchanged means both match.
local api = require "dgrun.fly.api"
local check = require "dgrun.check"
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local json = require "dgrun.json"
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

---The version of the app's secrets that dgrun or flyctl set last; machines must see at least this
---one.
---@param app string
---@return integer?
function M.version(app)
    local ours = require("dgrun.run").current() and store.kv_get("secrets.version:" .. app)
    local theirs = api.is_sandbox() and {} or api.flyctl_config().app_secrets_minvers
    local seen = type(theirs) == "table" and theirs[app]
    if type(seen) ~= "number" then
        return ours or nil
    end
    return math.max(ours or 0, seen)
end

local function fingerprint_key()
    return store.kv_get "secrets.key"
        or store.kv_add("secrets.key", check(require("host.digest").random_key()))
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
    local answer = api.machines("POST", path(opts.app),
        { json = { values = values }, repeatable = true })
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

---Sets what changed, all at once. Without `apply` it is staged: the deploy that follows brings it
---to the machines.
---@param opts dgrun.secrets.sync
---@return {version?: integer, set: string[], unchanged: string[]}
function M.sync(opts)
    check.options(opts, { app = "string", secrets = "table", apply = "boolean?" }, "secrets.sync")
    require("dgrun.environment").complete(opts.secrets)
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

---Removes secrets; those that are not there are fine.
---@param opts {app: string, names: string[], apply?: boolean}
---@return {version?: integer, unset: string[]}
function M.unset(opts)
    check.options(opts, { app = "string", names = "table", apply = "boolean?" }, "secrets.unset")
    local digests = digests_of(M.list { app = opts.app })
    local names, before, values = {}, {}, {}
    for _, name in ipairs(opts.names) do
        if digests[name] then
            names[#names + 1], before[name], values[name] = name, "set", json.null
        end
    end
    if #names == 0 then
        effect.note(("none of these is on %s"):format(opts.app))
    else
        effect.write {
            kind = "fly.secrets.unset", target = opts.app, before = before,
            summary = ("unset %s"):format(table.concat(names, ", ")), name = "secrets",
            apply = function()
                local answer = api.machines("POST", path(opts.app),
                    { json = { values = values }, repeatable = true })
                store.kv_put("secrets.version:" .. opts.app, answer.version)
                return { version = answer.version }
            end,
        }
    end
    if opts.apply then
        require("dgrun.fly.refresh").secrets(opts.app, #names > 0)
    end
    return { version = M.version(opts.app), unset = names }
end

---Where each secret of an environment comes from: which source gives it, what that hides, which
---rules it breaks. Asks all sources; never tells a value. dgrun.ui.secrets_where makes it text.
---@param where string|dgrun.environment|dgrun.place
---@return dgrun.secrets.where data
---@return dgrun.err? problem what is missing, broken or unreadable, if anything is
function M.where(where)
    return require("dgrun.secrets.where").of(where)
end

---Asks the application which settings it requires: the fields of its pydantic class, by the
---application's own Python, which changes nothing. Raises secrets.undeclared_setting, with `names`,
---for those that neither a secret nor a literal nor [env] of its fly.toml gives. An application
---that cannot be asked is a note, and `asked` is false.
---@param opts dgrun.secrets.required_by
---@return dgrun.secrets.requirements
function M.required_by(opts)
    return require("dgrun.secrets.required_by").compare(opts)
end

---Sets the secrets of NAME=value lines, as `fly secrets import` reads them.
---@param opts {app: string, text: string|userdata, apply?: boolean}
---@return {version?: integer, set: string[], unchanged: string[]}
function M.import(opts)
    check.options(opts, { app = "string", text = "value", apply = "boolean?" }, "secrets.import")
    local secrets = {}
    for _, entry in ipairs(check(require("host.dotenv").parse(opts.text, "secrets.import"))) do
        secrets[entry.name] = entry.value
    end
    return M.sync { app = opts.app, secrets = secrets, apply = opts.apply }
end

return M
