-- What a person needs to know of a machine when a step on Fly failed, so that nobody has to go and
-- collect it: events, exit code, failing checks, the last log lines, what was being changed.
local api = require "dgrun.fly.api"
local err = require "dgrun.core.err"
local health = require "dgrun.fly.health"
local log = require "host.log"
local logs = require "dgrun.fly.logs"
local machines = require "dgrun.fly.machines"
local plan = require "dgrun.run.plan"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"
local time_of = require "host.time"

local M = {}

local COLLECT_SECONDS = 20
local EVENTS, LOG_LINES, OUTPUT_BYTES = 6, 12, 300

---@class dgrun.err.detail a titled paragraph of an error
---@field title string one word, of 6 letters at most
---@field lines string[]

local function add(details, title, lines)
    if #lines > 0 then
        details[#details + 1] = { title = title, lines = lines }
    end
end

local function clean(value)
    return (log.clean(tostring(value or "")):gsub("%s+$", ""))
end

local function event_line(event)
    local time = time_of.iso((tonumber(event.timestamp) or 0) / 1000)
    local exit = event.type == "exit" and machines.last_exit { events = { event } }
    local line = ("%s  %s, %s"):format(time:match("T(.-)Z") or time, clean(event.type),
        clean(event.status))
    if exit then
        line = ("%s, code %s%s%s"):format(line, tostring(exit.exit_code),
            exit.oom_killed and ", out of memory" or "",
            exit.restart_count > 0 and (", restart %d"):format(exit.restart_count) or "")
    end
    return line
end

local function event_lines(machine)
    local lines = {}
    for i = math.min(EVENTS, #(machine.events or {})), 1, -1 do
        lines[#lines + 1] = event_line(machine.events[i])
    end
    return lines
end

local function check_lines(machine)
    local lines = {}
    for _, one in ipairs(machine.checks or {}) do
        if one.status ~= "passing" then
            local output = clean(one.output):sub(1, OUTPUT_BYTES)
            lines[#lines + 1] = ("%s is %s%s"):format(clean(one.name), clean(one.status),
                output ~= "" and ": " .. output or "")
        end
    end
    return lines
end

---The change that failed: what it found against what it wanted.
local function change_lines()
    local current = run.current()
    for i = current and #current.effects or 0, 1, -1 do
        local effect = current.effects[i]
        if effect.status == "failed" and effect.before and effect.after then
            return plan.details(effect, "")
        end
    end
    return {}
end

local function holder_line(machine)
    local lease = type(machine.lease) == "table" and machine.lease
    return lease and { ("held by %s until %s"):format(clean(lease.owner),
        time_of.iso(tonumber(lease.expires_at) or 0)) } or {}
end

local function machine_details(app, e, details)
    local machine = machines.get(app, e.machine, { leases = true })
    if not machine then
        return add(details, "fly", { ("machine %s is gone"):format(e.machine) })
    end
    local whose = machines.is_cron(machine) and ("cron machine %s (%s)"):format(machine.id,
        clean(machine.name)) or ("machine %s of group %s"):format(machine.id,
        machines.group(machine))
    add(details, "fly", { ("%s in %s: %s%s"):format(whose, clean(machine.region),
        clean(machine.state),
        machine.host_status ~= "ok" and ", its host is " .. clean(machine.host_status) or "") })
    add(details, "lease", err.is(e, "fly.lease_held") and holder_line(machine) or {})
    add(details, "events", event_lines(machine))
    add(details, "checks", check_lines(machine))
    if machine.state == "started" then
        local problem = health.port_problem(app, machine)
        add(details, "listen", { problem })
    end
    add(details, "log", logs.tail(app, e.machine, LOG_LINES))
end

---Adds `details` to an error of Fly.
---@param app string
---@param e dgrun.err
---@return dgrun.err e
function M.attach(app, e)
    local details = {}
    if e.details or not (err.is(e, "fly") or err.is(e, "cron")) then
        return e
    elseif e.machine then
        pcall(task.timeout, api.pace(COLLECT_SECONDS), function()
            machine_details(app, e, details)
        end)
    end
    add(details, "change", change_lines())
    e.details = details
    return e
end

---Runs `f`; what it raises about Fly is raised with its details.
---@return any … what `f` returns
function M.around(app, f, ...)
    local result = { pcall(f, ...) }
    if not result[1] then
        err.raise(M.attach(app, err.object(result[2])))
    end
    return unpack(result, 2)
end

return M
