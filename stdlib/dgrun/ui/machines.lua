-- Machines as text for people.
local format = require "dgrun.core.format"
local image_of = require "dgrun.core.image_ref"
local log = require "host.log"
local style = require "dgrun.ui.style"
local time = require "host.time"

local M = {}

local states = { started = "green", failed = "red", stopped = "dim", suspended = "dim",
    created = "dim", destroyed = "red" }

---@param at? string ISO 8601
---@return string # "3d 4h"; "-" when unknown
local function age(at)
    local since = at and time.parse(at)
    return since and format.age(time.wall() - since) or "-"
end

---@param checks {name: string, status: string}[]
---@return string # "2/2", "1/2 critical"
local function short_checks(checks)
    local passing, worst = 0, nil
    for _, check in ipairs(checks) do
        if check.status == "passing" then
            passing = passing + 1
        elseif worst ~= "critical" then
            worst = check.status
        end
    end
    return #checks == 0 and "-"
        or ("%d/%d%s"):format(passing, #checks, worst and " " .. worst or "")
end

local function state_of(row)
    local notes = { row.state }
    notes[#notes + 1] = row.cordoned and "cordoned" or nil
    notes[#notes + 1] = row.standby_for and "standby" or nil
    notes[#notes + 1] = row.host and "host " .. row.host or nil
    return table.concat(notes, ", ")
end

local function cells_of(row)
    return { row.id, row.name or "-", row.schedule and "cron, " .. row.schedule or row.group or "-",
        row.region, state_of(row), short_checks(row.checks), image_of.short(row.image),
        row.commit and row.commit:sub(1, 12) or "-", age(row.version_at or row.created_at) }
end

---Paints the whole line: styles within a column would break its alignment.
local function painted(line, row)
    local worst = row.state
    for _, check in ipairs(row.checks) do
        worst = check.status == "critical" and "failed" or worst
    end
    local paint = states[worst]
    return style.text("out", paint ~= "green" and paint or nil, line)
end

---@param rows dgrun.fly.machine.row[]
---@return string
function M.table(rows)
    if #rows == 0 then
        return "No machines.\n"
    end
    local cells = { { "ID", "NAME", "GROUP", "REGION", "STATE", "CHECKS", "IMAGE", "COMMIT",
        "AGE" } }
    for i, row in ipairs(rows) do
        cells[i + 1] = cells_of(row)
    end
    local lines = format.columns(cells)
    for i, line in ipairs(lines) do
        lines[i] = i == 1 and style.text("out", "bold", line) or painted(line, rows[i - 1])
    end
    return table.concat(lines, "\n") .. "\n"
end

---@param events dgrun.fly.machine.event[]
---@return string
function M.events(events)
    local cells = { { "AT (UTC)", "EVENT", "STATUS", "BY", "" } }
    for i, event in ipairs(events) do
        local notes = {}
        if event.exit_code then
            notes[1] = ("exit code %d"):format(event.exit_code)
            notes[#notes + 1] = event.oom_killed and "out of memory" or nil
            notes[#notes + 1] = event.requested_stop and "as requested" or nil
            notes[#notes + 1] = (event.restart_count or 0) > 0
                and ("restart %d"):format(event.restart_count) or nil
        end
        cells[i + 1] = { event.at:gsub("T", " "):gsub("Z$", ""), event.type, event.status,
            event.source or "", table.concat(notes, ", ") }
    end
    return log.clean(table.concat(format.columns(cells), "\n") .. "\n")
end

---@param status table of dg.fly.machines.status
---@return string
function M.status(status)
    local facts = {
        { "machine", status.id .. (status.name and ("  (%s)"):format(status.name) or "") },
        { "state", state_of(status) },
        { "group", status.schedule and ("none: cron, %s"):format(status.schedule)
            or status.group or "none: not managed by deploys" },
        { "region", status.region }, { "image", status.image },
        { "commit", status.commit or "unknown" },
        { "release", status.release and "v" .. status.release or "unknown" },
        { "since", ("%s (%s ago)"):format(status.version_at or status.created_at or "?",
            age(status.version_at or status.created_at)) },
    }
    for i, check in ipairs(status.checks) do
        local output = check.output and format.excerpt(check.output:match "^[^\n]*", 80)
        facts[#facts + 1] = { i == 1 and "checks" or "", ("%s is %s%s"):format(check.name,
            check.status, output and ": " .. output or "") }
    end
    return log.clean(table.concat(format.columns(facts), "\n")) .. "\n\n"
        .. M.events(status.events)
end

---Prints the standard error of a command in a machine, and returns its standard output.
---@param result {stdout: string, stderr: string}
---@return string
function M.output(result)
    log.err(log.clean(result.stderr or ""))
    return log.clean(result.stdout or "")
end

return M
