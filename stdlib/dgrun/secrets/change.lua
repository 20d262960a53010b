-- A change to the secrets of an app: what a plan shows of it, and how it is applied.
local api = require "dgrun.fly.api"
local app_secrets = require "dgrun.fly.secrets"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local record = require "dgrun.secrets.fingerprints"
local refresh = require "dgrun.secrets.refresh"
local state = require "dgrun.secrets.state"
local write = require "dgrun.secrets.write"

local M = {}

---@class dgrun.secrets.change
---@field app string
---@field diff dgrun.secrets.diff
---@field there table<string, table> the secrets that Fly lists, by name
---@field values table<string, any>
---@field set string[]
---@field unset string[]

---What a plan shows of a change, by name: the states before and after, never a value.
local function shown(change)
    local before, after = {}, {}
    for _, entry in ipairs(change.diff.names) do
        local name = entry.name
        if entry.state == "new" then
            after[name] = "set"
        elseif entry.state == "changed" then
            before[name], after[name] = "set", "changed"
        elseif entry.state == "unknown" then
            before[name] = entry.reason == "others" and "set by someone else" or "not set by dgrun"
            after[name] = "set again"
        end
    end
    for _, name in ipairs(change.unset) do
        before[name] = "set"
    end
    return next(before) and before or nil, next(after) and after or nil
end

---"set A (changed), B (new) and C (unknown); remove D on draft-app"
local function summary(change)
    local words = { new = "new", changed = "changed", unknown = "unknown" }
    local parts, set, all_new = {}, {}, #change.diff.new == #change.set
    for _, entry in ipairs(change.diff.names) do
        if words[entry.state] then
            set[#set + 1] = all_new and entry.name
                or ("%s (%s)"):format(entry.name, words[entry.state])
        end
    end
    if #set == 0 then
        return ("remove %s from %s"):format(format.list(change.unset), change.app)
    end
    parts[1] = "set " .. format.list(set)
    parts[2] = #change.unset > 0 and "remove " .. format.list(change.unset) or nil
    return ("%s on %s"):format(table.concat(parts, "; "), change.app)
end

local function carry_out(change)
    local values, changed = {}, {}
    for _, name in ipairs(change.set) do
        values[name] = change.values[name]
    end
    for _, name in ipairs(change.diff.changed) do
        changed[name] = true
    end
    for _, name in ipairs(change.unset) do
        values[name] = json.null
    end
    local ok, version, now = pcall(write.carry_out, { app = change.app, values = values,
        before = change.there, changed = changed })
    if not ok then
        for _, name in ipairs(err.is(version, "secrets.not_set") and change.set or {}) do
            record.forget(change.app, name)
        end
        error(version, 0)
    end
    -- The version first: a value that is known as set, at a version that is not, would never reach
    -- the machines.
    app_secrets.keep_version(change.app, version)
    local key = record.key()
    for _, name in ipairs(change.set) do
        record.keep(change.app, name, now[name].digest,
            record.fingerprint(key, name, change.values[name]))
    end
    return { version = version }
end

---Applies a change unless it is empty, and with `apply` updates the machines.
---@param change dgrun.secrets.change
---@param apply? boolean
---@return integer? version
---@return string[]? machines ids of the updated machines
function M.make(change, apply)
    if #change.set + #change.unset > 0 then
        local before, after = shown(change)
        effect.write {
            kind = #change.set > 0 and "fly.secrets.set" or "fly.secrets.unset",
            target = change.app, before = before, after = after, summary = summary(change),
            name = "secrets", apply = function() return carry_out(change) end,
        }
    end
    local machines
    if apply then
        machines = refresh.secrets(change.app, #change.set + #change.unset > 0)
    end
    return app_secrets.coming_version(change.app), machines
end

local function refuse_required(opts, names)
    local list = {}
    local declared = opts.secrets
        and environment.declared(opts.secrets) or {}
    for _, name in ipairs(names) do
        local how = declared[name]
        list[#list + 1] = (how == "required" or how == "literal") and name or nil
    end
    if #list > 0 then
        err.raise { code = "secrets.refused", op = "secrets.unset",
            msg = ("%s: the environment of %s requires %s"):format(format.list(list),
                opts.app, #list == 1 and "it" or "them"),
            hint = ("Remove %s from environments.yaml first. To remove the secret anyway: %s")
                :format(#list == 1 and "it" or "them", api.command "secrets unset --force") }
    end
end

---Removes secrets by name.
---@param opts dgrun.secrets.unset
---@return dgrun.secrets.unset.result
function M.unset(opts)
    local there = write.read(opts.app)
    local unset, absent, seen = json.array {}, json.array {}, {}
    for _, name in ipairs(opts.names) do
        if not state.is_name(name) then
            err.raise { code = "input.invalid", op = "secrets.unset",
                msg = "secrets.unset: one of the given names is not a valid secret name",
                hint = "Names are letters, digits and underscores." }
        elseif not seen[name] then
            seen[name] = true
            table.insert(there[name] and unset or absent, name)
        end
    end
    table.sort(unset)
    refuse_required(opts, unset)
    if #absent > 0 then
        effect.note(("not on %s: %s"):format(opts.app, format.list(absent)))
    end
    local version, machines = M.make({ app = opts.app,
        diff = { names = {}, new = {}, changed = {} }, values = {}, there = there, set = {},
        unset = unset }, opts.apply)
    return { app = opts.app, version = version, unset = unset, absent = absent,
        machines = machines }
end

return M
