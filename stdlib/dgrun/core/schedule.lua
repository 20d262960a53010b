-- The four schedules that Fly has: docs/fly/machines-api.md, section 11. A machine
-- runs at fixed intervals from its creation; the time of day cannot be chosen.
local format = require "dgrun.core.format"
local opt = require "host.opt"
local time = require "host.time"

local M = {}

local HOUR, DAY = 3600, 86400

M.names = { "hourly", "daily", "weekly", "monthly" }

local seconds = { hourly = HOUR, daily = DAY, weekly = 7 * DAY, monthly = 30 * DAY }

---Fly's ticks come approximately; and months differ.
local SLACK = 1.25

---@return boolean
function M.is(name)
    return type(name) == "string" and seconds[name] ~= nil
end

---@param name string
---@return number # seconds of its interval
function M.interval(name)
    return seconds[name]
end

---The next moment of a machine's rhythm, approximately.
---@param machine table as the API shows it
---@param now number
---@return number? # seconds since 1970
function M.next(machine, now)
    local interval = seconds[machine.config and machine.config.schedule]
    local created = interval and time.parse(machine.created_at or "")
    return created and created + (math.floor((now - created) / interval) + 1) * interval or nil
end

---How old the last tick may get before the next one is overdue.
---@param name string
---@return number seconds
function M.patience(name)
    return seconds[name] * SLACK
end

local words = { ["@hourly"] = "hourly", ["@daily"] = "daily", ["@midnight"] = "daily",
    ["@weekly"] = "weekly", ["@monthly"] = "monthly", ["@annually"] = "monthly",
    ["@yearly"] = "monthly" }

local function is_number(field)
    return field:match "^%d+$" ~= nil or field:match "^%a%a%a$" ~= nil
end

---The nearest schedule to a cron expression, and what is lost.
local function of_expression(fields)
    local minute, hour, day, _, weekday = unpack(fields)
    if not is_number(minute) then
        return "hourly", "more_often"
    elseif not is_number(hour) then
        return "hourly", hour ~= "*" and "less_often" or nil
    elseif is_number(day) then
        return "monthly"
    elseif is_number(weekday) then
        return "weekly"
    end
    return "daily", (day ~= "*" or weekday ~= "*") and "less_often" or nil
end

local function of_interval(wanted)
    for _, name in ipairs(M.names) do
        if wanted <= seconds[name] then
            local lost = wanted < HOUR and "more_often" or wanted < seconds[name] and "between"
            return name, lost or nil
        end
    end
    return "monthly", "less_often"
end

---Which schedule somebody meant who wrote this.
---@return string? name
---@return "more_often"|"less_often"|"between"|nil lost
---@return string? what it is
local function meant(text)
    local fields = {}
    for field in text:gmatch "%S+" do
        fields[#fields + 1] = field
    end
    if #fields >= 5 and #fields <= 6 and text:match "^[%d%*/,%-%a%? ]+$" then
        local name, lost = of_expression(#fields == 6 and { unpack(fields, 2) } or fields)
        return name, lost, "a cron expression"
    end
    local lower = text:lower()
    local interval = format.seconds((lower:gsub("^every%s+", "")))
    if words[lower] then
        return words[lower], nil, "a cron expression"
    elseif seconds[lower] then
        return lower
    elseif interval then
        local name, lost = of_interval(interval)
        return name, lost, "an interval"
    end
    return opt.nearest(lower, M.names)
end

local rhythm = { hourly = "every hour", daily = "every day", weekly = "every week",
    monthly = "every month" }

local losses = {
    more_often = " Fly cannot start a machine more often. Work that runs every few minutes belongs "
        .. "in a long-running process that sleeps between runs.",
    less_often = " If the job is due less often, let it check the time and end at once when it is "
        .. "not due.",
    between = " Fly has no schedule in between; a job that is not due yet can end at once.",
}

---What to tell somebody whose schedule is none.
---@param text string
---@return string # a hint
function M.explain(text)
    local name, lost, kind = meant(text)
    if not kind then
        return (name and ("Did you mean '%s'? "):format(name) or "")
            .. "Fly supports only these four schedules, without a time of day."
    end
    return ("That is %s, which Fly does not support. Write %s: Fly starts the machine %s, counted "
        .. "from its creation; the time of day cannot be chosen.%s"):format(kind, name,
        rhythm[name], losses[lost] or "")
end

---@param text any
---@return string
function M.misfit(text)
    return ("%s, not '%s'"):format(format.list(M.names, "or"), tostring(text))
end

return M
