-- A change of a machine with a schedule: not in the middle of a tick, and started afterwards, which
-- alone arms its schedule again.
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local format = require "dgrun.format"
local leases = require "dgrun.fly.leases"
local machines = require "dgrun.fly.machines"

local M = {}

local SETTLE_SECONDS = 300
local DEFAULT_WAIT = 30 * 60

---@class dgrun.cron.when_running
---@field wait? string|number how long a tick may take to end, "30m"
---@field then? "skip"|"fail"|"interrupt" what happens when it does not, "skip"

local function seconds_of(value)
    return type(value) == "number" and value or (value and format.seconds(value)) or DEFAULT_WAIT
end

---Waits for a tick that runs; false when it may not be interrupted.
local function wait_for_tick(app, machine, when)
    local seconds = seconds_of(when.wait)
    if machine.state ~= "started" and machine.state ~= "starting" then
        return true
    end
    effect.note(("%s is running a tick; waiting for its end"):format(machine.name))
    local ok, e = pcall(machines.wait, app, machine.id, { state = "stopped", seconds = seconds })
    if ok then
        return true
    elseif not err.is(e, "fly.timeout") then
        err.raise(e)
    elseif when["then"] == "fail" then
        err.raise { code = "cron.busy", op = "cron.sync", machine = machine.id,
            msg = ("the tick of %s did not end within %s"):format(machine.name,
                format.duration(seconds)),
            hint = "Run again when it has ended, or say when_running: { then: interrupt }." }
    end
    return when["then"] == "interrupt"
end

---Starts a machine that was updated and then left stopped, as by a deploy that was killed: without
---that its schedule does not go on.
---@param app string
---@param machine table as the API showed it
---@return {id: string}
function M.arm(app, machine)
    return effect.write {
        kind = "fly.machine.start", target = app .. "/" .. machine.name, name = "machine",
        summary = ("start the cron machine %s, which was not since its update"):format(
            machine.name),
        apply = function()
            leases.with(app, { machine.id }, function(nonces)
                machines.start(app, machine.id, nonces[machine.id], { fresh = true })
            end)
            return { id = machine.id }
        end,
    }
end

---@param app string
---@param machine table as the API showed it
---@param to {config: table, version?: integer, when_running?: dgrun.cron.when_running}
---  version: of the app's secrets
---@return {id: string, skipped?: boolean} # skipped: a tick runs, it is left as it is
function M.update(app, machine, to)
    if not wait_for_tick(app, machine, to.when_running or {}) then
        effect.note(("%s still runs a tick; it is left as it is"):format(machine.name))
        return { id = machine.id, skipped = true }
    end
    leases.with(app, { machine.id }, function(nonces)
        local nonce = nonces[machine.id]
        local updated = machines.update(app, machine.id, {
            name = machine.name, region = machine.region, config = to.config, skip_launch = true,
            min_secrets_version = to.version,
        }, nonce)
        machines.wait(app, machine.id, { state = "stopped", seconds = SETTLE_SECONDS,
            instance_id = updated.instance_id })
        machines.start(app, machine.id, nonce, { fresh = true })
    end)
    return { id = machine.id }
end

return M
