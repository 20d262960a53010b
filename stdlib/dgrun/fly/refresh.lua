-- Brings new secrets to the machines that run: each gets its own configuration again, and with it
-- the secrets' version. What fly secrets deploy does; deploy.md section 14.
local config_of = require "dgrun.fly.config"
local effect = require "dgrun.effect"
local health = require "dgrun.fly.health"
local leases = require "dgrun.fly.leases"
local machines = require "dgrun.fly.machines"
local strategies = require "dgrun.fly.strategies"

local M = {}

local WAIT_SECONDS = 300
local MAX_UNAVAILABLE = 0.33

local function outdated(app, version, planned)
    local found = {}
    for _, machine in ipairs(machines.list(app)) do
        local seen = machines.is_managed(machine) and machine.config.metadata.dgrun_secrets
        if machines.is_managed(machine) and (planned or seen ~= tostring(version)) then
            found[#found + 1] = { group = machines.group(machine), machine = machine }
        end
    end
    return found
end

local function update(app, change, version, nonce)
    local machine = change.machine
    effect.write {
        kind = "fly.machine.update", target = app .. "/" .. machine.id,
        summary = ("update machine %s with the new secrets"):format(machine.id),
        before = { dgrun_secrets = machine.config.metadata.dgrun_secrets or "none" },
        after = { dgrun_secrets = version and tostring(version) or "new" },
        apply = function()
            local config = config_of.copy(machine.config)
            config.metadata.dgrun_secrets = tostring(version)
            local up = machine.state == "started" or machine.state == "starting"
            local updated = machines.update(app, machine.id, {
                region = machine.region, config = config, skip_launch = not up,
                min_secrets_version = version,
            }, nonce)
            if up then
                health.wait(app, updated, WAIT_SECONDS)
            end
        end,
    }
end

---@param app string
---@param changed boolean were secrets set, or would they be?
function M.secrets(app, changed)
    local version = require("dgrun.secrets").version(app)
    local planned = effect.planning() and changed
    local changes = (version or planned) and outdated(app, version, planned) or {}
    local ids = {}
    for i, change in ipairs(changes) do
        ids[i] = change.machine.id
    end
    local function go(nonces)
        strategies.rolling {
            updates = changes, max_unavailable = MAX_UNAVAILABLE, on_failure = "stop",
            update = function(change)
                update(app, change, version, nonces[change.machine.id])
            end,
        }
    end
    if #changes == 0 then
        return
    elseif effect.planning() then
        go {}
    else
        leases.with(app, ids, go)
    end
end

return M
