-- The sandbox's time: that of this computer, and what it was moved forward. Schedules, leases and
-- the afterlife of destroyed machines go by it; how long a transition takes does not.
local time = require "host.time"

local M = {}

---@param world sandbox.world
---@return number seconds since 1970
function M.now(world)
    return time.wall() + world.clock_offset
end

---@param world sandbox.world
---@param at? number now when absent
---@return string "2026-08-01T10:00:00Z"
function M.iso(world, at)
    return time.iso(at or M.now(world))
end

---@param world sandbox.world
---@return string "Sat, 01 Aug 2026 10:00:00 GMT"
function M.http(world)
    return os.date("!%a, %d %b %Y %H:%M:%S GMT", math.floor(M.now(world)))
end

---Seconds that cannot be moved, for deadlines within one request.
---@return number
function M.steady()
    return time.now()
end

---Waits in real time.
---@param seconds number
---@return true? ok nil when cancelled
function M.sleep(seconds)
    return time.sleep(seconds)
end

return M
