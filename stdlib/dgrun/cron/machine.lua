-- A change of a machine with a schedule: not in the middle of a tick, and started afterwards, which
-- alone arms its schedule again.
local api = require "dgrun.fly.api"
local changes_of = require "dgrun.fly.diff"
local diagnosis = require "dgrun.fly.diagnosis"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local image_of = require "dgrun.core.image_ref"
local leases = require "dgrun.fly.lease"
local machines = require "dgrun.fly.machines"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"
local ticks_of = require "dgrun.cron.job_runs"
local time = require "host.time"

local M = {}

local SETTLE_SECONDS = 300
---How long a start is tried again that Fly refuses, since the machine is not quite there yet.
local START_SECONDS = 60
local DEFAULT_WAIT = 30 * 60

---@class dgrun.cron.when_running
---@field wait? string|number how long a tick may take to end, "30m"
---@field then? "skip"|"fail"|"interrupt" what happens when it does not, "skip"

---@class dgrun.cron.patience with a tick that runs
---@field seconds number
---@field deadline number
---@field outcome "skip"|"fail"|"interrupt"

---@param when? dgrun.cron.when_running
---@param wait? string|number instead of what `when` says
---@return dgrun.cron.patience
function M.patience(when, wait)
    when = when or {}
    local seconds = format.seconds(wait or when.wait or DEFAULT_WAIT)
    return { seconds = seconds, deadline = time.now() + seconds,
        outcome = when["then"] or "skip" }
end

local function name_of(machine)
    return machine.name or machine.id
end

---Its tick did not end in time.
---@return boolean go on all the same
local function out_of_patience(machine, patience)
    if patience.outcome == "fail" then
        err.raise { code = "cron.busy", op = "cron.sync", machine = machine.id,
            msg = ("the job of %s did not end within %s"):format(name_of(machine),
                format.duration(patience.seconds)),
            hint = "Run again when the job has ended, or set when_running: { then: interrupt }." }
    end
    return patience.outcome == "interrupt"
end

---Waits until no tick runs.
---@param app string
---@param machine table as the API showed it
---@param patience dgrun.cron.patience
---@return boolean # false: one still runs, and is not to be interrupted
function M.wait_idle(app, machine, patience)
    local now = machines.get(app, machine.id)
    if not now or not ticks_of.runs(now) then
        return true
    elseif patience.deadline > time.now() then
        effect.note(("%s is running its job; waiting up to %s for it to end"):format(
            name_of(machine), format.duration(patience.deadline - time.now())))
    end
    while time.now() < patience.deadline do
        local ended = machines.wait_once(app, machine.id, { state = "stopped",
            seconds = patience.deadline - time.now(), instance_id = now.instance_id })
        now = machines.get(app, machine.id)
        if ended or not now or not ticks_of.runs(now) then
            return true
        end
    end
    if out_of_patience(machine, patience) then
        return true
    end
    effect.note(("%s is still running its job; leaving the machine "
        .. "unchanged"):format(name_of(machine)))
    return false
end

---Starts it; where Fly finds that it is not yet what it is about to be, again a moment later.
local function start(app, id, nonce)
    local deadline = time.now() + api.pace(START_SECONDS)
    while true do
        local ok, e = pcall(machines.start, app, id, nonce, { fresh = true })
        if ok then
            return
        elseif not err.is(e, "fly.precondition") or time.now() >= deadline then
            e = err.object(e)
            e.machine = id
            e.hint = "The machine is stopped, and its schedule is paused until it starts. Run this "
                .. "again to start it."
            err.raise(e)
        end
        task.sleep(api.pace(1))
    end
end

local function arm(app, id, nonce)
    run.finish(("the start of machine %s, which its schedule needs"):format(id), start, app, id,
        nonce)
    return { id = id }
end

---Starts a machine that was updated and then left stopped, as by a deploy that was killed: without
---that its schedule does not go on.
---@param app string
---@param machine table as the API showed it
---@return {id: string}
function M.arm(app, machine)
    return effect.write {
        kind = "fly.machine.start", target = app .. "/" .. name_of(machine), name = "machine",
        summary = ("start the cron machine %s, not started since its update"):format(
            name_of(machine)),
        apply = function()
            return leases.with(app, { machine.id }, function(nonces)
                return arm(app, machine.id, nonces[machine.id])
            end)
        end,
    }
end

---Runs `change` under the machine's lease while no tick runs: one may have begun while the lease
---was waited for.
---@param app string
---@param machine table
---@param patience dgrun.cron.patience
---@param change fun(nonce: string, now: table): table
---@return table? # nil: a tick runs, and nothing was changed
local function undisturbed(app, machine, patience, change)
    while M.wait_idle(app, machine, patience) do
        local interrupting = patience.outcome == "interrupt" and time.now() >= patience.deadline
        local result = leases.with(app, { machine.id }, function(nonces)
            local now = machines.get(app, machine.id) or err.raise {
                code = "fly.not_found", op = "cron", machine = machine.id,
                msg = ("the cron machine %s is gone"):format(name_of(machine)),
                hint = "Run again to create it." }
            if ticks_of.runs(now) and not interrupting then
                return nil
            end
            return change(nonces[machine.id], now)
        end)
        if result then
            return result
        end
    end
end

local function skipped(machine)
    return { id = machine.id, skipped = true }
end

---@class dgrun.cron.change
---@field config table
---@field version? integer of the app's secrets that the machine has to see
---@field patience dgrun.cron.patience

---@param app string
---@param machine table as the API showed it
---@param to dgrun.cron.change
---@return {id: string, skipped?: boolean} # skipped: a tick runs, it is left as it is
function M.update(app, machine, to)
    return undisturbed(app, machine, to.patience, function(nonce, now)
        -- From here on it is not left before it is started again, whatever asks the run to stop.
        return run.finish(("the update of the cron machine %s"):format(name_of(machine)), function()
            local updated = machines.update(app, machine.id, {
                name = now.name, region = now.region, config = to.config, skip_launch = true,
                min_secrets_version = to.version,
            }, nonce)
            machines.wait(app, machine.id, { state = "settled", seconds = SETTLE_SECONDS,
                instance_id = updated.instance_id })
            start(app, machine.id, nonce)
            return { id = machine.id }
        end)
    end) or skipped(machine)
end

---Another machine in the place of one that cannot be moved, under the same name.
---@param app string
---@param machine table as the API showed it
---@param body table of the Machines API
---@param patience dgrun.cron.patience
---@return {id: string, skipped?: boolean}
function M.replace(app, machine, body, patience)
    return undisturbed(app, machine, patience, function(nonce)
        return run.finish(("the move of the cron machine %s"):format(name_of(machine)), function()
            machines.destroy(app, machine.id, nonce)
            machines.wait(app, machine.id, { state = "destroyed", seconds = SETTLE_SECONDS })
            local ok, created = pcall(machines.create, app, body)
            if not ok then
                created = err.object(created)
                created.hint = ("The machine in %s was destroyed and has no replacement yet; run "
                    .. "again to create it. %s"):format(tostring(machine.region),
                    created.hint or "")
                err.raise(created)
            end
            return { id = created.id }
        end)
    end) or skipped(machine)
end

local function destroy(app, machine, patience)
    return undisturbed(app, machine, patience, function(nonce)
        machines.destroy(app, machine.id, nonce)
        return { id = machine.id }
    end) or skipped(machine)
end

---Removes a machine while no job of it runs.
---@param app string
---@param machine table as the API shows it
---@param why string "not declared"
---@param when? dgrun.cron.when_running
---@return {id: string, skipped?: boolean}
function M.remove(app, machine, why, when)
    local patience = M.patience(when)
    if not effect.planning() and not M.wait_idle(app, machine, patience) then
        return { id = machine.id, skipped = true }
    end
    return effect.write {
        kind = "fly.machine.destroy", target = app .. "/" .. machine.id, name = "machine",
        summary = ("remove the cron machine %s (%s), %s"):format(machine.name or "?", machine.id,
            why),
        before = changes_of.readable(machine.config, image_of.of_machine(machine)),
        apply = function()
            return diagnosis.around(app, destroy, app, machine, patience)
        end,
    }
end

return M
