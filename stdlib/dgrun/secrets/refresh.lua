-- Delivers new secrets to the machines of an app: each machine is updated with its unchanged
-- configuration and the new secrets version, in a release with the image and the configuration of
-- the current one, as by `fly secrets deploy` (docs/fly/deploy.md, section 14). Unlike flyctl, this
-- includes machines with a schedule.
local commits = require "dgrun.fly.commit"
local cron_machine = require "dgrun.cron.machine"
local dossier = require "dgrun.fly.diagnosis"
local effect = require "dgrun.run.effect"
local health = require "dgrun.fly.health"
local json = require "dgrun.core.json"
local leases = require "dgrun.fly.lease"
local machines = require "dgrun.fly.machines"
local release_record = require "dgrun.fly.release_record"
local releases = require "dgrun.fly.releases"
local secrets_state = require "dgrun.fly.secrets"
local strategies = require "dgrun.fly.strategies"
local tables = require "dgrun.core.table"

local M = {}

local WAIT_SECONDS = 300
local MAX_UNAVAILABLE = 0.33

---@return {group: string, machine: table}[] managed those that do not have this version yet
---@return {group: string, machine: table}[] crons cron machines that do not have it
---@return table state
---@return table[] current managed machines that have it
local function outdated(app, version, planned)
    local managed, crons, current, state = {}, {}, {}, secrets_state.read(app)
    for _, machine in ipairs(machines.list(app)) do
        local metadata = machine.config and machine.config.metadata or {}
        local change = { group = machines.group(machine), machine = machine }
        if machines.is_managed(machine) then
            if planned or metadata.dgrun_secrets ~= tostring(version) then
                managed[#managed + 1] = change
            else
                current[#current + 1] = machine
            end
        elseif machines.is_cron(machine) then
            crons[#crons + 1] = (planned or not secrets_state.is_current(state, machine))
                and change or nil
        end
    end
    return managed, crons, state, current
end

---@param apply fun(config: table): any receives the configuration with the new version mark
local function as_effect(app, machine, version, apply)
    local metadata = machine.config.metadata or {}
    effect.write {
        kind = "fly.machine.update", target = app .. "/" .. machine.id,
        summary = ("update machine %s with the new secrets"):format(machine.id),
        before = { dgrun_secrets = metadata.dgrun_secrets or "none" },
        after = { dgrun_secrets = version and tostring(version) or "new" },
        apply = function()
            local config = tables.copy(machine.config)
            config.metadata = config.metadata or {}
            config.metadata.dgrun_secrets = tostring(version)
            return apply(config)
        end,
    }
end

---@return boolean # false when the machine is running its job and stays unchanged
local function update_cron(app, change, version, state)
    local patience = cron_machine.patience()
    if not effect.planning() and not cron_machine.wait_idle(app, change.machine, patience) then
        return false
    end
    as_effect(app, change.machine, version, function(config)
        secrets_state.mark(state, config.metadata, change.machine)
        local wanted = secrets_state.wanted_version(app, state, config.metadata, change.machine)
        return cron_machine.update(app, change.machine,
            { config = config, version = wanted, patience = patience })
    end)
    return true
end

---The app's current release, to be made once more; nil for an app that was never deployed.
local function again(app)
    for _, release in ipairs(releases.history(app)) do
        local definition = release.configDefinition
        local ended_well = release.status == "complete" or release.status == "succeeded"
        if ended_well and type(definition) == "table" and type(release.imageRef) == "string" then
            local note = type(definition.dgrun) == "table" and definition.dgrun or {}
            return { app = app, plan = effect.planning(), config = { definition = definition },
                image = release.imageRef, strategy_name = "rolling", commit = note.commit,
                heads = note.heads, database_heads = note.database, waits = true,
                wait_timeout = WAIT_SECONDS }
        end
    end
end

---Notes the release on a machine that keeps its image. A commit that another tool's deploy made
---untrue goes.
local function note_release(deploy, config, machine)
    local metadata = config.metadata
    if metadata.dgrun_commit ~= deploy.commit_of(machine) then
        metadata.dgrun_commit = nil
    end
    releases.note(metadata, deploy.release)
end

---@param deploy? table of `again`, with its release
local function update(app, change, version, nonce, deploy)
    local machine = change.machine
    as_effect(app, machine, version, function(config)
        if deploy then
            note_release(deploy, config, machine)
        end
        local up = machine.state == "started" or machine.state == "starting"
        local updated = machines.update(app, machine.id, {
            region = machine.region, config = config, skip_launch = not up,
            min_secrets_version = version,
        }, nonce)
        if up then
            health.wait(app, updated, WAIT_SECONDS)
        end
    end)
end

---Settles the release of a change that was interrupted after its last machine: every machine names
---that release, but it is not complete.
local function settle(app, list)
    local newest = #list > 0 and releases.list(app, 1)[1]
    if not newest or newest.status == "complete" then
        return
    end
    for _, machine in ipairs(list) do
        if (machine.config.metadata or {}).fly_release_id ~= newest.id then
            return
        end
    end
    local deploy = again(app)
    if deploy then
        release_record.settle(deploy, list)
    end
end

---Machines that do not have this version of the app's secrets yet, as far as dgrun knows.
---@param app string
---@param version integer
---@return string[] # ids
function M.behind(app, version)
    local ids = json.array {}
    local managed, crons = outdated(app, version, false)
    for _, list in ipairs { managed, crons } do
        for _, change in ipairs(list) do
            ids[#ids + 1] = change.machine.id
        end
    end
    return ids
end

---@param app string
---@param changed boolean whether secrets were set, or would be in a plan
---@return string[] # ids of the updated machines
function M.secrets(app, changed)
    local version = secrets_state.coming_version(app)
    local planned = effect.planning() and changed
    local updated = json.array {}
    if not version and not planned then
        return updated
    end
    local managed, crons, state, current = outdated(app, version, planned)
    local ids = {}
    for i, change in ipairs(managed) do
        ids[i], updated[i] = change.machine.id, change.machine.id
    end
    local deploy = #managed > 0 and again(app) or nil
    local function go(nonces)
        strategies.rolling {
            updates = managed, max_unavailable = MAX_UNAVAILABLE, on_failure = "stop", already = 0,
            starts = function() return false end, gate = function() end,
            update = function(change)
                update(app, change, version, nonces[change.machine.id], deploy)
            end,
        }
    end
    local function carry_out()
        if effect.planning() then
            go {}
        else
            dossier.around(app, leases.with, app, ids, go)
        end
    end
    if deploy then
        deploy.commit_of = commits.reader(app)
        release_record.around(deploy, carry_out)
    elseif #managed > 0 then
        carry_out()
    else
        settle(app, current)
    end
    for _, change in ipairs(crons) do
        if update_cron(app, change, version, state) then
            updated[#updated + 1] = change.machine.id
        end
    end
    return updated
end

return M
