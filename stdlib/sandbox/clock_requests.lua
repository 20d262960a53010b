-- Requests that ask for the sandbox's time, and move it forward.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local schedules = require "sandbox.schedules"
local world_of = require "sandbox.world"

local M = {}

local FURTHEST = 100 * 365 * 86400

local function face(world)
    return { now = clock.iso(world), offset = world.clock_offset }
end

---GET /sandbox/v1/clock
function M.show(world)
    return face(world)
end

---POST /sandbox/v1/clock {advance: seconds}
function M.advance(world, _, body)
    local seconds = body and body.advance
    if type(seconds) ~= "number" or seconds < 0
        or world.clock_offset + seconds > FURTHEST then
        answer.fail(422, "advance must be seconds, 0 or more; time does not go back")
    end
    world.clock_offset = world.clock_offset + seconds
    world_of.save(world)
    schedules.catch_up(world)
    schedules.wake(world)
    return face(world)
end

return M
