-- What is done to a machine that keeps its version: start, stop, restart, suspend, signal, cordon.
-- docs/fly/machines-api.md, section 6.5.
local answer = require "sandbox.answer"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local leases = require "sandbox.leases"
local lifecycle = require "sandbox.lifecycle"
local signals = require "sandbox.signals"
local world_of = require "sandbox.world"

local M = {}

local LONGEST_STOP = 300

local stopping = { SIGHUP = true, SIGINT = true, SIGQUIT = true, SIGKILL = true, SIGUSR1 = true,
    SIGUSR2 = true, SIGTERM = true }

---The name of a signal given by name or number.
local function signal_of(given, allowed)
    local number = type(given) == "string" and given:match("^%d+$") and tonumber(given) or given
    local name = signals.name(number) or (signals.number(given) and given)
    if not name or (allowed and not allowed[name]) then
        answer.fail(400, ("invalid_argument: signal %s is not one that can be sent"):format(
            tostring(given)))
    end
    return name
end

---How a process is to be stopped: as this call says, else as the configuration does.
local function way_to_stop(machine, signal, timeout)
    local default = machine.config.stop_config or {}
    local way = { signal = signal and signal ~= "" and signal_of(signal, stopping)
        or default.signal }
    if timeout ~= nil and timeout ~= "" then
        way.seconds = input.duration(timeout)
        if not way.seconds or way.seconds > LONGEST_STOP then
            answer.fail(400, "invalid_argument: timeout must be a duration of at most 300s")
        end
    end
    if not way.seconds or way.seconds == 0 then
        way.seconds = input.duration(default.timeout or "5s") or 5
    end
    return way
end

local startable = { stopped = true, suspended = true, created = true, failed = true }

function M.start(world, context)
    local machine = leases.changeable(world, context)
    local before = machine.state
    if before == "started" then
        return { previous_state = "started", migrated = false, new_host = "" }
    elseif before == "replacing" then
        answer.fail(412, "failed_precondition: machine getting replaced, refusing to start")
    elseif not startable[before] or machine.preparing then
        answer.fail(412, ("failed_precondition: unable to start machine from current state: '%s'")
            :format(before))
    end
    lifecycle.start(world, context.app, machine, "user")
    return { previous_state = before, migrated = false, new_host = "" }
end

local stoppable = { started = true, starting = true, suspended = true }

function M.stop(world, context, body)
    local machine = leases.changeable(world, context)
    local timeout = body and body.timeout
    local way = way_to_stop(machine, input.field(body, "signal", "string"),
        timeout ~= json.null and timeout or nil)
    if stoppable[machine.state] then
        lifecycle.stop(world, context.app, machine, way)
    end
    return { ok = true }
end

function M.suspend(world, context)
    local machine = leases.changeable(world, context)
    if machine.state ~= "started" then
        answer.fail(412, "failed_precondition: machine is not started")
    end
    lifecycle.stop(world, context.app, machine, { into = "suspended" })
    return { ok = true }
end

function M.restart(world, context)
    local machine, query = leases.changeable(world, context), context.query
    local way = way_to_stop(machine, query.signal, query.timeout)
    if machine.state ~= "started" then
        answer.fail(412, ("failed_precondition: unable to restart machine, currently %s"):format(
            machine.state))
    end
    if query.force_stop == "true" then
        way.signal = "SIGKILL"
    end
    lifecycle.event(world, machine, "restart", "replacing", "user")
    lifecycle.replace(world, context.app, machine, false, way)
    return { ok = true }
end

function M.signal(world, context, body)
    local machine = leases.changeable(world, context)
    local name = signal_of(body and body.signal)
    local process = machine.state == "started"
        and lifecycle.process(world, context.app, machine)
    if not process then
        answer.fail(412, ("failed_precondition: unable to signal machine, currently %s"):format(
            machine.state))
    end
    process.signal(name, signals.number(name))
    return { ok = true }
end

local function set_cordoned(world, context, cordoned)
    leases.changeable(world, context).cordoned = cordoned
    world_of.changed(world, context.machine)
    return { ok = true }
end

function M.cordon(world, context) return set_cordoned(world, context, true) end

function M.uncordon(world, context) return set_cordoned(world, context, false) end

return M
