-- What setting secrets would change: each name that is declared or on the app is in one of six
-- states. Reads Fly and the store, changes nothing.
--
--     new        not on the app
--     changed    on the app with another value, which dgrun set
--     unchanged  on the app with this value
--     unknown    on the app with an unknown value that this dgrun did not set: someone else changed
--                it, or the store is new. It is set again
--     extra      on the app, but not declared
--     kept       on the app and declared as optional, but no source has a value
local app_secrets = require "dgrun.fly.secrets"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local record = require "dgrun.secrets.fingerprints"
local refresh = require "dgrun.secrets.refresh"
local secret = require "host.secret"
local tables = require "dgrun.core.table"
local unknown = require "dgrun.core.unknown"
local write = require "dgrun.secrets.write"

local M = {}

---@alias dgrun.secrets.word "new"|"changed"|"unchanged"|"unknown"|"extra"|"kept"

---@class dgrun.secrets.entry
---@field name string
---@field state dgrun.secrets.word
---@field digest? string Fly's, where it is on the app
---@field declared? "required"|"optional"|"literal"|"given" given: in a plain table
---@field reason? "others"|"never" of unknown: someone else changed it, or dgrun never set it

---@class dgrun.secrets.diff
---@field app string
---@field version? integer of the app's secrets, as far as dgrun knows
---@field names dgrun.secrets.entry[] sorted by name
---@field new string[]
---@field changed string[]
---@field unchanged string[]
---@field unknown string[]
---@field extra string[]
---@field kept string[]

M.words = { "new", "changed", "unchanged", "unknown", "extra", "kept" }

---@param name any
---@return boolean
function M.is_name(name)
    return type(name) == "string" and name:match "^[%a_][%w_]*$" ~= nil and #name <= 256
end

---Refuses invalid names without quoting them: a name may be a misplaced value.
---@param values table<string, any>
---@param op string
function M.check_values(values, op)
    for name, value in pairs(values) do
        if not M.is_name(name) then
            err.raise { code = "input.invalid", op = op,
                msg = op .. ": one of the given names is not a valid secret name",
                hint = "Names are letters, digits and underscores." }
        elseif type(value) ~= "string" and not secret.is(value)
                and not unknown.is(value) then
            err.raise { code = "input.invalid", op = op,
                msg = ("%s: %s must be a string or a sealed value, not %s"):format(op, name,
                    type(value)) }
        end
    end
end

---@class dgrun.secrets.overview
---@field app string
---@field version? integer of the app's secrets that dgrun or flyctl set last
---@field secrets dgrun.secrets.overview.entry[] sorted by name
---@field missing string[] declared as required, or literal, but not on the app
---@field behind? string[] ids of machines that do not have this version yet: a deploy, or
---  `secrets.set` with `apply`, brings it to them

---@class dgrun.secrets.overview.entry
---@field name string
---@field present boolean on the app
---@field digest? string Fly's
---@field updated_at? string
---@field declared? "required"|"optional"|"literal" absent when not declared, or unknown

local function state_of(app, name, value, there, key)
    if not there then
        return "new"
    elseif unknown.is(value) then
        return "changed"
    end
    local fingerprint, reason = record.on_app(app, name, there.digest)
    if not fingerprint then
        return "unknown", reason
    end
    return fingerprint == record.fingerprint(key, name, value) and "unchanged" or "changed"
end

---@param app string
---@param values table<string, string|host.secret.value>
---@param declared table<string, string>? how each name is declared; default: all of `values`
---@param there table<string, table> the secrets that Fly lists, by name
---@return dgrun.secrets.diff
function M.of(app, values, declared, there)
    local key = record.key()
    local diff = { app = app, names = {}, version = app_secrets.version(app) }
    for _, word in ipairs(M.words) do
        diff[word] = json.array {}
    end
    for _, name in ipairs(tables.keys(values, there)) do
        local how = declared and declared[name] or values[name] ~= nil and "given" or nil
        local state, reason
        if values[name] ~= nil then
            state, reason = state_of(app, name, values[name], there[name], key)
        else
            state = how and "kept" or "extra"
        end
        table.insert(diff.names, { name = name, state = state, reason = reason, declared = how,
            digest = there[name] and there[name].digest })
        table.insert(diff[state], name)
    end
    return diff
end

---@param app string
---@param declared table<string, string>
---@return dgrun.secrets.overview
function M.overview(app, declared)
    local array = json.array
    local there = write.read(app)
    local version = app_secrets.version(app)
    local overview = { app = app, version = version, secrets = array {}, missing = array {},
        behind = version and refresh.behind(app, version) or nil }
    for i, name in ipairs(tables.keys(declared, there)) do
        local one = there[name]
        overview.secrets[i] = { name = name, present = one ~= nil, digest = one and one.digest,
            updated_at = one and one.updated_at, declared = declared[name] }
        if not one and declared[name] ~= "optional" then
            table.insert(overview.missing, name)
        end
    end
    return overview
end

return M
