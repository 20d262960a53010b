-- How long a local Fly in a process of its own lives: until it is told to stop, no one has asked it
-- anything for a while, or its folder is gone.
local clock = require "sandbox.clock"
local host_task = require "host.task"
local world_of = require "sandbox.world"

local M = {}

M.IDLE_SECONDS = 15 * 60

local LOOK_EVERY = 1

---Handles a request, which keeps it alive meanwhile.
---@param world sandbox.world
---@param handle fun()
function M.during(world, handle)
    world.in_progress = (world.in_progress or 0) + 1
    local ok, e = pcall(handle)
    world.in_progress = world.in_progress - 1
    world.last_request = clock.steady()
    if not ok then
        error(e, 0)
    end
end

---POST /sandbox/v1/stop
function M.stop(world)
    world.stop_asked = true
    if world.lifetime_sleep then
        world.lifetime_sleep:cancel()
    end
    return { ok = true }
end

local function end_of(world, idle_seconds)
    if world.stop_asked then
        return "stop"
    elseif not world_of.is_ours(world) then
        return "gone"
    elseif idle_seconds and (world.in_progress or 0) == 0
        and clock.steady() - world.last_request >= idle_seconds then
        return "idle"
    end
end

---Waits for its end; a signal is one, too.
---@param world sandbox.world
---@param idle_seconds? number nil: being idle is no reason
---@return "stop"|"idle"|"gone"|"cancelled"
function M.wait(world, idle_seconds)
    world.last_request = clock.steady()
    while true do
        local reason = end_of(world, idle_seconds)
        if reason then
            return reason
        end
        world.lifetime_sleep = world_of.spawn(world, "sandbox.lifetime", function()
            return clock.sleep(LOOK_EVERY)
        end)
        world.lifetime_sleep:join()
        world.lifetime_sleep = nil
        if not host_task.check() then
            return "cancelled"
        end
    end
end

return M
