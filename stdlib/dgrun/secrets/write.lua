-- A write to the secrets of an app, and the check that it took effect. After a lost response, Fly's
-- list shows whether the write took effect; the version then comes from a write that changes
-- nothing, as in flyctl.
local api = require "dgrun.fly.api"
local app_secrets = require "dgrun.fly.secrets"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local retry = require "dgrun.fly.retry"
local task = require "dgrun.core.task"

local M = {}

local LOOKS = 3

local function path(app)
    return api.path("/v1/apps/%s/secrets", app)
end

---The secrets that Fly lists, by name.
---@param app string
---@return table<string, {name: string, digest: string, updated_at?: string}>
function M.read(app)
    local by_name = {}
    for _, secret in ipairs(app_secrets.list(app)) do
        by_name[secret.name] = secret
    end
    return by_name
end

---@class dgrun.secrets.write
---@field app string
---@field values table<string, any> values to set; json.null removes
---@field before table<string, table> the secrets that Fly listed
---@field changed table<string, true> names that get another value, so that their digests must
---  change

---What is wrong with a name after the write, or nil.
local function fault(write, name, now)
    local before = write.before[name]
    if write.values[name] == json.null then
        return now and "is still set"
    elseif not now then
        return "is not set"
    elseif write.changed[name] and before and before.digest == now.digest then
        return "still has its previous digest"
    end
end

---Whether the write took effect. Setting an equal value keeps the digest, so the time of the last
---change counts too.
local function landed(write)
    local now = M.read(write.app)
    for name in pairs(write.values) do
        local before = write.before[name]
        if fault(write, name, now[name]) then
            return nil
        elseif before and now[name] and before.digest == now[name].digest
                and before.updated_at == now[name].updated_at then
            return nil
        end
    end
    return {}
end

local function learn_version(app)
    local nobody = "DGRUN_" .. require("host.digest").random_key():sub(1, 24):upper()
    return api.machines("POST", path(app),
        { json = { values = { [nobody] = json.null } }, repeatable = true }).version
end

local function verify(write)
    local faults
    for look = 1, LOOKS do
        local now = M.read(write.app)
        faults = {}
        for name in pairs(write.values) do
            local wrong = fault(write, name, now[name])
            faults[#faults + 1] = wrong and ("%s %s"):format(name, wrong) or nil
        end
        if #faults == 0 then
            return now
        elseif look < LOOKS then
            task.sleep(api.pace(1))
        end
    end
    table.sort(faults)
    err.raise { code = "secrets.not_set", op = "secrets",
        msg = ("Fly accepted the secrets of %s, but then %s"):format(write.app,
            format.list(faults)),
        hint = api.command "secrets list"
            .. " lists the current secrets; a re-run sets them again." }
end

---@param write dgrun.secrets.write
---@return integer version
---@return table<string, table> now the secrets that Fly lists afterward
function M.carry_out(write)
    local answer = retry.settled(function()
        return (api.machines("POST", path(write.app),
            { json = { values = write.values }, once = true }))
    end, function() return landed(write) end)
    local now = verify(write)
    return answer.version or learn_version(write.app), now
end

return M
