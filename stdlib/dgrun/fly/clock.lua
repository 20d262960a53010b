-- What time it is for Fly, whose clock schedules and events go by: that of this computer, put right
-- by the date of Fly's last answer. A local Fly may be hours ahead, and so may a laptop. It also
-- takes less time for everything.
local time = require "host.time"

local M = {}

---Below this many seconds they go the same: a date is in whole ones, and an answer travels.
local NOISE = 5

local ahead = 0
local share = 1

local months = {}
for i, name in ipairs { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
    "Nov", "Dec" } do
    months[name] = i
end

---@param text string "Sat, 01 Aug 2026 10:00:00 GMT"
---@return number? seconds since 1970
function M.parse(text)
    local day, month, year, clock = text:match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%S+) GMT$")
    return months[month] and time.parse(("%s-%02d-%sT%sZ"):format(year, months[month], day, clock))
end

---Takes note of the date of an answer.
---@param date string? its header
function M.hear(date)
    local theirs = type(date) == "string" and M.parse(date)
    if theirs then
        local difference = theirs - time.wall()
        ahead = math.abs(difference) > NOISE and difference or 0
    end
end

---Another Fly has another clock.
function M.forget()
    ahead = 0
end

---Says how much of a pause is taken with the Fly in use.
---@param of_pause number 1 for all of it
function M.set_pace(of_pause)
    share = of_pause
end

---Seconds between two looks at something that takes a while; a local machine takes less.
---@param seconds number
---@return number
function M.pace(seconds)
    return seconds * share
end

---@return number seconds since 1970
function M.now()
    return time.wall() + ahead
end

return M
