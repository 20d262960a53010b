-- What is wrong with a cron machine: drift from its declaration, a schedule that stands still, a
-- tick that is overdue, one that ended badly.
local format = require "dgrun.core.format"
local ticks_of = require "dgrun.cron.job_runs"

local M = {}

---@class dgrun.cron.problem
---@field kind "drift"|"stopped"|"overdue"|"exit"|"duplicate"|"missing"
---@field field? string of drift
---@field text string

local function ago(seconds)
    return format.age(math.max(0, seconds)) .. " ago"
end

local function exit_text(exit, now)
    local text = ("its last job run, %s, ended with exit code %s"):format(
        ago(now - exit.timestamp / 1000), tostring(exit.exit_code))
    if exit.oom_killed then
        text = text .. ", out of memory"
    end
    return exit.restarting and ("%s (restart %d follows)"):format(text, exit.restart_count + 1)
        or text
end

local function of_ticks(add, machine, ticks, now)
    if machine.state == "failed" then
        add("stopped", "it failed to start, so its schedule is paused")
    elseif not ticks.armed and not ticks.running then
        add("stopped", ("it has not been started since its last update%s, so its schedule is "
            .. "paused")
            :format(ticks.changed and ", " .. ago(now - ticks.changed) or ""))
    elseif ticks.overdue then
        add("overdue", ("its last job run was %s, but its schedule is %s"):format(
            ticks.last and ago(now - ticks.last) or "never seen", machine.config.schedule))
    end
    local exit = ticks.exit
    if exit and exit.exit_code ~= 0 and not exit.requested_stop then
        add("exit", exit_text(exit, now))
    end
end

---@param view dgrun.cron.view
---@param now number Fly's time
---@return dgrun.cron.problem[]
---@return dgrun.cron.ticks
function M.problems(view, now)
    local found = {}
    local function add(kind, text, field)
        found[#found + 1] = { kind = kind, text = text, field = field }
    end
    for _, one in ipairs(view.differences) do
        add("drift", one.text, one.field)
    end
    local ticks = ticks_of.of(view.machine, now)
    of_ticks(add, view.machine, ticks, now)
    return found, ticks
end

return M
