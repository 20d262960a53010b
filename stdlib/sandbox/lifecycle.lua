-- What machines go through: docs/fly/machines-api.md, section 5.2. Each transition is a background
-- task that takes a moment; resume.lua goes on with what was interrupted.
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local logs = require "sandbox.logs"
local runtime = require "sandbox.runtime"
local signals = require "sandbox.signals"
local volumes = require "sandbox.volumes"
local world_of = require "sandbox.world"

local M = {}

local EVENTS_KEPT = 50
local DEFAULT_RETRIES = 10

---@param source "user"|"flyd"
function M.event(world, machine, type, status, source, request)
    table.insert(machine.events, 1, {
        id = world_of.ulid(world), type = type, status = status, source = source,
        timestamp = math.floor(clock.now(world) * 1000), request = request,
    })
    machine.events[EVENTS_KEPT + 1] = nil
end

local function enter(world, machine, state)
    machine.state = state
    world_of.changed(world, machine)
end

---Runs a transition; a machine that was changed meanwhile is no longer its business.
local function transition(world, machine, f)
    machine.epoch = (machine.epoch or 0) + 1
    local epoch = machine.epoch
    local function pause(seconds)
        local ok = clock.sleep(seconds or world.pace)
        return ok and not world.closing and machine.epoch == epoch
    end
    world_of.changed(world, machine)
    world_of.spawn(world, "machine " .. machine.id, function() f(pause) end)
end

local function exit_event(world, machine, result, requested, restarting)
    M.event(world, machine, "exit", "stopped", "flyd", {
        exit_event = {
            exit_code = result.exit_code or 0, guest_exit_code = result.exit_code or 0,
            guest_signal = -1, signal = result.signal or -1, oom_killed = result.oom or false,
            requested_stop = requested, restarting = restarting, exited_at = clock.iso(world),
        },
        restart_count = machine.restart_count,
    })
end

---Does the restart policy bring it back? docs/fly/machines-api.md, section 11.
local function comes_back(machine, result)
    local restart = machine.config.restart or {}
    local policy = restart.policy or "on-failure"
    if policy == "always" then
        return true
    end
    return policy == "on-failure" and result.exit_code ~= 0
        and machine.restart_count < (restart.max_retries or DEFAULT_RETRIES)
end

---The last line of a main process: clients wait for this very text.
local function log_exit(world, app, machine, result)
    local signal = result.signal and signals.name(result.signal)
    logs.add(world, app, machine, signal
        and ("INFO Main child exited with signal (with signal '%s', core dumped? false)"):format(
            signal)
        or ("INFO Main child exited normally with code: %d"):format(result.exit_code or 0))
end

local run

local function after_exit(world, app, machine, result)
    world.running[machine.id] = nil
    local again = comes_back(machine, result)
    if again then
        machine.restart_count = machine.restart_count + 1
    end
    log_exit(world, app, machine, result)
    exit_event(world, machine, result, false, again)
    machine.check_status = nil
    if again then
        transition(world, machine, function(pause)
            -- Who asked for the machine meanwhile has started it.
            if pause(world.pace * 2) and not world.running[machine.id] then
                run(world, app, machine, "flyd")
            end
        end)
    elseif machine.config.auto_destroy then
        M.destroy(world, app, machine)
    else
        enter(world, machine, "stopped")
    end
end

---The machine is up: its main process runs until it ends or is stopped.
function run(world, app, machine, source)
    machine.state = "started"
    machine.started = clock.now(world)
    machine.started_version = machine.instance_id
    M.event(world, machine, "start", "started", source)
    local epoch = machine.epoch
    local process = runtime.start(world, app, machine)
    world.running[machine.id] = process
    world_of.changed(world, machine)
    world_of.spawn(world, "main process " .. machine.id, function()
        local result = process.wait()
        local still = machine.epoch == epoch and machine.state == "started"
        if still and not world.closing then
            after_exit(world, app, machine, result)
        end
    end)
end

local function boot_failed(world, app, machine)
    if not runtime.boots(world, machine) then
        logs.add(world, app, machine, "machine failed to boot", "runner", "error")
        enter(world, machine, "failed")
        return true
    end
end

function M.start(world, app, machine, source)
    machine.state = "starting"
    transition(world, machine, function(pause)
        if pause() and not boot_failed(world, app, machine) then
            run(world, app, machine, source)
        end
    end)
end

---A new machine: placed, its image pulled, then started, or left stopped with skip_launch.
function M.launch(world, app, machine, skip)
    machine.preparing = true
    machine.skip = skip
    transition(world, machine, function(pause)
        if not pause() then
            return
        end
        machine.preparing = nil
        if skip then
            enter(world, machine, "stopped")
        else
            M.start(world, app, machine, "flyd")
        end
    end)
end

local DEFAULT_STOP_SECONDS = 5

---Ends the main process: asked to, and made to when it takes too long.
---@param way? {signal: string?, seconds: number?} else as the configuration says
---@return {exit_code: integer, signal: integer?}
local function end_process(world, app, machine, way)
    local process = world.running[machine.id]
    world.running[machine.id] = nil
    machine.check_status = nil
    if not process then
        return { exit_code = 0 }
    end
    local default = machine.config.stop_config or {}
    way = way or {}
    local result = process.stop(way.signal or default.signal or "SIGINT", way.seconds
        or input.duration(default.timeout) or DEFAULT_STOP_SECONDS) or { exit_code = 0 }
    log_exit(world, app, machine, result)
    return result
end

---A new version. One that was not started before is left stopped, whatever was asked for.
---@param way? table how the process of the old version is stopped
function M.replace(world, app, machine, skip, way)
    local was_up = machine.state == "started" or machine.state == "starting"
        or machine.state == "failed"
        or (machine.state == "replacing" and machine.resume)
    machine.resume = was_up and not skip
    machine.state = "replacing"
    machine.preparing = nil
    transition(world, machine, function(pause)
        end_process(world, app, machine, way)
        if not pause() then
            return
        end
        if not machine.resume then
            logs.add(world, app, machine,
                "machine was in a non-started state prior to the update", "runner")
            enter(world, machine, "stopped")
        elseif not boot_failed(world, app, machine) then
            M.start(world, app, machine, "flyd")
        end
    end)
end

---@param way? {into: string?, signal: string?, seconds: number?} "suspended" keeps its memory
function M.stop(world, app, machine, way)
    local into = way and way.into or "stopped"
    local was_up = machine.state ~= "suspended"
    machine.state = into == "suspended" and "suspending" or "stopping"
    transition(world, machine, function(pause)
        local result = end_process(world, app, machine, way)
        if pause() then
            if was_up and into == "stopped" then
                exit_event(world, machine, result, true, false)
            else
                M.event(world, machine, into == "stopped" and "stop" or "suspend", into, "flyd")
            end
            enter(world, machine, into)
        end
    end)
end

function M.destroy(world, app, machine)
    machine.state = "destroying"
    machine.preparing = nil
    transition(world, machine, function(pause)
        end_process(world, app, machine, { signal = "SIGKILL", seconds = 0 })
        if pause() then
            machine.destroyed = clock.now(world)
            machine.lease = nil
            machine.tick_at = nil
            volumes.detach(app, machine.id)
            M.event(world, machine, "destroy", "destroyed", "flyd")
            enter(world, machine, "destroyed")
        end
    end)
end

---The checks of a machine as the API shows them: none before it is started.
function M.checks(machine)
    local shown = json.array {}
    if machine.state ~= "started" or not machine.check_status then
        return shown
    end
    for _, one in ipairs(machine.check_status) do
        shown[#shown + 1] = one
    end
    return shown
end

---The process of a started machine, started again after the sandbox was.
function M.process(world, app, machine)
    if machine.state == "started" and not world.running[machine.id] then
        run(world, app, machine, "flyd")
    end
    return world.running[machine.id]
end

function M.stop_processes(world)
    for id, process in pairs(world.running) do
        world.running[id] = nil
        if process.close then
            process.close()
        else
            process.stop("SIGTERM", 0)
        end
    end
end

return M
