-- What was interrupted goes on when the sandbox starts again.
local checks = require "sandbox.checks"
local clock = require "sandbox.clock"
local lifecycle = require "sandbox.lifecycle"

local M = {}

local FIRST_CHECKS_SECONDS = 20
local LOOK_EVERY = 0.02

local function has_restarted(machine)
    for _, event in ipairs(machine.events) do
        if event.type == "exit" then
            return event.request.exit_event.restarting
        end
    end
end

---The checks of a process that starts anew are not known; simulated ones are what they were.
local function wake(world, app, machine)
    local before = machine.check_status
    machine.check_status = nil
    local process = lifecycle.process(world, app, machine)
    if process and not process.address then
        machine.check_status = before
    end
end

local resumptions = {
    created = function(world, app, machine)
        if machine.preparing then
            lifecycle.launch(world, app, machine, machine.skip)
        end
    end,
    starting = function(world, app, machine) lifecycle.start(world, app, machine, "flyd") end,
    replacing = function(world, app, machine)
        lifecycle.replace(world, app, machine, not machine.resume)
    end,
    stopping = function(world, app, machine) lifecycle.stop(world, app, machine) end,
    suspending = function(world, app, machine)
        lifecycle.stop(world, app, machine, { into = "suspended" })
    end,
    destroying = function(world, app, machine) lifecycle.destroy(world, app, machine) end,
    -- The process ended with the sandbox. A command that was cut off starts again, and so does a
    -- machine that is restarted as it crashes. Another web machine's comes back at once, or when
    -- somebody asks for it.
    started = function(world, app, machine)
        if #(machine.config.services or {}) == 0 or has_restarted(machine) then
            lifecycle.start(world, app, machine, "flyd")
        elseif world.wake then
            wake(world, app, machine)
        end
    end,
}

---Is a machine that serves not up yet?
local function is_awaited(world, machine)
    if #(machine.config.services or {}) == 0 then
        return false
    elseif machine.state == "starting" then
        return true
    end
    local process = world.running[machine.id]
    if machine.state ~= "started" or not process or not process.address then
        return false
    end
    for _, one in ipairs(machine.check_status or {}) do
        if one.status ~= "passing" then
            return true
        end
    end
    return machine.check_status == nil and #checks.list(machine.config) > 0
end

local function any_awaited(world)
    for _, app in pairs(world.apps) do
        for _, machine in pairs(app.machines) do
            if is_awaited(world, machine) then
                return true
            end
        end
    end
end

---Waits until the machines that ran are up and their checks pass, or do not in time.
local function await_checks(world)
    local deadline = clock.steady() + FIRST_CHECKS_SECONDS
    while any_awaited(world) and clock.steady() < deadline do
        clock.sleep(LOOK_EVERY)
    end
end

---Goes on where the sandbox was ended.
function M.all(world)
    if not world.persist then
        return
    end
    for _, app in pairs(world.apps) do
        for _, machine in pairs(app.machines) do
            local resume = resumptions[machine.state]
            if resume then
                resume(world, app, machine)
            end
        end
    end
    if world.wake then
        await_checks(world)
    end
end

return M
