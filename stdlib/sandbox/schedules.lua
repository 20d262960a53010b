-- Scheduled machines: each interval, counted from the creation, a stopped one is started. An
-- interval that passed unseen is not made up for: however many did, the machine starts once.
-- A version that was never started does not tick: after an update with skip_launch somebody has to
-- start the machine, or its schedule stands still. docs/fly/machines-api.md, section 11.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local lifecycle = require "sandbox.lifecycle"
local time = require "host.time"
local world_of = require "sandbox.world"

local M = {}

local DAY = 86400
local LONGEST_SLEEP = 60

local intervals = { hourly = 3600, daily = DAY, weekly = 7 * DAY, monthly = 30 * DAY }

---The first moment of a machine's rhythm that is later than `now`.
local function next_tick(machine, now)
    local interval = intervals[machine.config.schedule]
    local created = time.parse(machine.created_at)
    return created + (math.floor((now - created) / interval) + 1) * interval
end

---Called when a machine was made or changed: its schedule is kept, or forgotten.
function M.arm(world, machine)
    if not machine.config.schedule then
        machine.tick_at = nil
        return
    end
    if machine.armed_for ~= machine.config.schedule or not machine.tick_at then
        machine.tick_at = next_tick(machine, clock.now(world))
        machine.armed_for = machine.config.schedule
    end
    M.wake(world)
end

local function is_armed(machine)
    return machine.started_version == machine.instance_id
end

local function tick(world, app, machine)
    if machine.state == "stopped" then
        lifecycle.start(world, app, machine, "flyd")
    end
end

---Starts what is due.
---@return number # seconds until the next is
function M.catch_up(world)
    local now = clock.now(world)
    local nearest, ticked = math.huge, false
    for _, app in pairs(world.apps) do
        for _, machine in pairs(app.machines) do
            if machine.tick_at and machine.state ~= "destroyed" then
                if machine.tick_at <= now then
                    machine.tick_at = next_tick(machine, now)
                    ticked = true
                    if is_armed(machine) then
                        tick(world, app, machine)
                    end
                end
                nearest = math.min(nearest, machine.tick_at)
            end
        end
    end
    if ticked then
        world_of.save(world)
    end
    return nearest - now
end

---The list of what is scheduled has changed.
function M.wake(world)
    if world.schedule_sleep then
        world.schedule_sleep:cancel()
    end
end

---Runs as long as the sandbox does.
function M.run(world)
    while not world.closing do
        local left = M.catch_up(world)
        world.schedule_sleep = world_of.spawn(world, "sandbox.schedule", function()
            return clock.sleep(math.max(0, math.min(left, LONGEST_SLEEP)))
        end)
        world.schedule_sleep:join()
        world.schedule_sleep = nil
    end
end

---POST /sandbox/v1/apps/{app}/machines/{id}/tick: one tick now, whatever the clock says
function M.tick(world, context)
    if not context.machine.config.schedule then
        answer.fail(422, "the machine has no schedule")
    end
    tick(world, context.app, context.machine)
    return { ok = true }
end

return M
