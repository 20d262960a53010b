-- What the events of a machine with a schedule tell of its ticks.
local machines = require "dgrun.fly.machines"
local schedule_of = require "dgrun.core.schedule"
local time = require "host.time"

local M = {}

local idle = { stopped = true, created = true, suspended = true, failed = true }

---Is a tick running, or the machine on its way into or out of one?
---@param machine table as the API shows it
---@return boolean
function M.runs(machine)
    return not idle[machine.state]
end

---How long Fly may take to start what it has just made.
local LAUNCH_SECONDS = 60

local function is_being_made(machine, now)
    local created = time.parse(machine.created_at or "")
    return machine.state == "created" and created ~= nil and now - created < LAUNCH_SECONDS
end

---@class dgrun.cron.ticks
---@field running boolean
---@field armed boolean was it started since it was made or changed last? Else its schedule stands
---  still
---@field last? number seconds since 1970: its newest start
---@field changed? number when it was made or changed last
---@field exit? dgrun.fly.exit of the newest tick that ended with the present version
---@field next? number when the next tick is expected, approximately
---@field overdue boolean

local function at(event)
    return (tonumber(event.timestamp) or 0) / 1000
end

local function newest(events, types)
    for _, event in ipairs(events) do
        if types[event.type] then
            return at(event)
        end
    end
end

---The newest exit of the present version: that of an older one says nothing of this.
local function last_exit(events)
    for _, event in ipairs(events) do
        if event.type == "update" or event.type == "launch" then
            return nil
        elseif event.type == "exit" then
            return machines.last_exit { events = { event } }
        end
    end
end

---@param machine table as the API shows it
---@param now number Fly's time
---@return dgrun.cron.ticks
function M.of(machine, now)
    local events = machine.events or {}
    local ticks = {
        running = M.runs(machine),
        armed = machines.was_started(machine) or is_being_made(machine, now),
        last = newest(events, { start = true }),
        changed = newest(events, { update = true, launch = true }), exit = last_exit(events),
        overdue = false,
    }
    local schedule = machine.config and machine.config.schedule
    if not ticks.armed or not schedule_of.is(schedule) then
        return ticks
    end
    ticks.next = schedule_of.next(machine, now)
    local since = ticks.last or time.parse(machine.created_at or "") or now
    ticks.overdue = not ticks.running and now - since > schedule_of.patience(schedule)
    return ticks
end

return M
