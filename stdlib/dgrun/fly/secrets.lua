-- The secrets that Fly has of an app, and their version: what machines have to get.
--
-- And which of them a machine has that no deploy touches. Fly gives them to a machine when it is
-- made or changed, and flyctl changes those of deploys only. So such a machine is marked with what
-- the app had then: the version, where it is known, and a digest of the names and Fly's digests,
-- which tells a change whoever made it. docs/fly/machines-api.md, section 8.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local run = require "dgrun.run.context"
local store = require "dgrun.run.store"
local unknown = require "dgrun.core.unknown"

local M = {}

---@class dgrun.fly.secrets_state
---@field version? integer that dgrun or flyctl set last, as far as this computer knows
---@field digest string
---@field count integer how many there are
---@field refreshed table<string, true> in a plan: ids of machines that get new ones anyway

local DIGEST_LENGTH = 16
local AHEAD = "(known after apply)"

---@param app string
---@return {name: string, digest: string, created_at?: string, updated_at?: string}[] sorted by
---  name; values cannot be read
function M.list(app)
    local body, status = api.machines("GET", api.path("/v1/apps/%s/secrets", app),
        { ok = { [404] = true } })
    if status == 404 then
        machines.app(app)
    end
    table.sort(body.secrets, function(a, b) return a.name < b.name end)
    return body.secrets
end

---@param app string
---@param version integer
function M.keep_version(app, version)
    store.kv_put(M.row_key("version", app), version)
end

---The version of the app's secrets that dgrun or flyctl set last; machines must see at least this
---one.
---@param app string
---@return integer?
function M.version(app)
    local ours = run.current() and store.kv_get(M.row_key("version", app))
    local theirs = api.is_sandbox() and {} or api.flyctl_config().app_secrets_minvers
    local seen = type(theirs) == "table" and theirs[app]
    if type(seen) ~= "number" then
        return ours or nil
    end
    return math.max(ours or 0, seen)
end

local kinds = { ["fly.secrets.set"] = true, ["fly.secrets.unset"] = true }

---Does this plan write secrets of the app, so that their version is not known yet?
local function is_planned(r, app)
    for _, e in ipairs(r and r.plan and r.effects or {}) do
        if kinds[e.kind] and e.target == app then
            return true
        end
    end
    return false
end

---The version that machines get from here on: in a plan that sets secrets of the app it is known
---after apply.
---@param app string
---@return integer?
function M.coming_version(app)
    if is_planned(run.current(), app) then
        return unknown.new "version" --[[@as integer]]
    end
    return M.version(app)
end

---In a plan: will an earlier effect change them, and which machines does another bring them to?
---@return boolean
---@return table<string, true>
local function ahead(app)
    local current = effect.planning() and run.current()
    local changed, refreshed = false, {}
    for _, record in ipairs(current and current.effects or {}) do
        local of_app, id = record.target:match("^([^/]+)/?(.*)$")
        if record.kind:find("^fly%.secrets%.") and record.target == app then
            changed = true
        elseif changed and of_app == app and record.kind == "fly.machine.update"
            and record.after.dgrun_secrets then
            refreshed[id] = true
        end
    end
    return changed, refreshed
end

---The state that a list tells, whose version nobody asks for: enough to compare.
---@param list {name: string, digest: string}[]
---@return dgrun.fly.secrets_state
function M.of(list)
    local lines = {}
    for i, secret in ipairs(list) do
        lines[i] = ("%s=%s"):format(secret.name, tostring(secret.digest))
    end
    table.sort(lines)
    local digest = check(
        require("host.digest").sha256(table.concat(lines, "\n")))
    return { digest = digest:sub(1, DIGEST_LENGTH), count = #list, refreshed = {} }
end

---@param app string
---@return dgrun.fly.secrets_state
function M.read(app)
    local state = M.of(M.list(app))
    local changed, refreshed = ahead(app)
    local version = M.version(app)
    -- In a plan it may only be known after apply; the digest says that it changes.
    state.version, state.refreshed = not unknown.is(version) and version or nil, refreshed
    state.digest = changed and AHEAD or state.digest
    return state
end

local function marks_of(machine)
    return machine and machine.config and machine.config.metadata or {}
end

---Does a machine have the secrets of now?
---@param state dgrun.fly.secrets_state
---@param machine table
---@return boolean
function M.is_current(state, machine)
    local marks = marks_of(machine)
    return state.refreshed[machine.id] or marks.dgrun_secrets_digest == state.digest
        and (not state.version or state.version <= (tonumber(marks.dgrun_secrets) or 0))
end

---Puts the marks of now into the metadata that a machine gets. A version that only another
---computer knew stays.
---@param state dgrun.fly.secrets_state
---@param metadata table
---@param machine? table as it is
function M.mark(state, metadata, machine)
    local known = math.max(state.version or 0, tonumber(marks_of(machine).dgrun_secrets) or 0)
    metadata.dgrun_secrets = known > 0 and ("%d"):format(known) or nil
    metadata.dgrun_secrets_digest = state.digest
end

---Fly tells the version of an app's secrets only in answer to a change: one that changes nothing.
local function learn(app)
    return api.machines("POST", api.path("/v1/apps/%s/secrets", app), { repeatable = true,
        json = { values = { DGRUN_ASKS_FOR_THE_VERSION = json.null } } }).version
end

---The version that a machine has to get, so that it has the secrets of now; noted among the
---metadata it gets. To be called when the machine is about to be made or changed.
---@param app string
---@param state dgrun.fly.secrets_state
---@param metadata table
---@param machine? table as it is
---@return integer? # nil: whatever there is will do
function M.wanted_version(app, state, metadata, machine)
    local marks = marks_of(machine)
    local ours = state.version and state.version > (tonumber(marks.dgrun_secrets) or 0)
    if ours or marks.dgrun_secrets_digest == state.digest or state.count == 0 then
        return state.version
    end
    local version = learn(app)
    metadata.dgrun_secrets = ("%d"):format(version)
    return version
end

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

---The key of a row of the store about the secrets of an app. The local Fly has rows of its own;
---names are hashed, because a name may be masked too.
---@param kind "set"|"version"
---@param app string
---@param name? string of a secret
---@return string
function M.row_key(kind, app, name)
    local world = api.is_sandbox() and "sandbox" or "fly"
    return ("secrets.%s:%s"):format(kind,
        M.opaque(table.concat({ world, app, name or "" }, ":")))
end

return M
