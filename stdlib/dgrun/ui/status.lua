-- The status of environments as text: problems first, then unknown facts, then the rest.
local format = require "dgrun.core.format"
local lease = require "dgrun.run.lock"
local log = require "host.log"
local plain = require "dgrun.ui.plain"
local style_of = require "dgrun.ui.style"
local time_of = require "host.time"

local M = {}

---What a source shows, by its name: adds lines; true when something about it is unknown.
local facts_of = {}

---@class dgrun.ui.status.context
---@field now number unix seconds
---@field verbose boolean
---@field width integer

local SHORT = 12
-- How many migrations are named without --verbose.
local NAMED = 3

local function add(lines, text, style)
    lines[#lines + 1] = { text = text, style = style }
end

local function ago(context, time)
    return format.ago(context.now - time)
end

---"2 started, 1 stopped": most first.
local function counted(counts, form)
    local names, parts = {}, {}
    for name in pairs(counts) do
        names[#names + 1] = name
    end
    table.sort(names, function(a, b)
        return counts[a] > counts[b] or counts[a] == counts[b] and a < b
    end)
    for i, name in ipairs(names) do
        parts[i] = (form or "%d %s"):format(counts[name], name)
    end
    return table.concat(parts, ", ")
end

local function where(regions)
    local only = next(regions)
    return next(regions, only) and counted(regions, "%d in %s") or "in " .. tostring(only)
end

local function distance(one)
    if one.behind_unknown then
        return "how far behind is unknown: " .. one.behind_unknown
    elseif one.behind == 0 and one.ahead == 0 then
        return "up to date with " .. one.base
    end
    local parts = {}
    if one.behind > 0 then
        parts[1] = ("%d behind %s"):format(one.behind, one.base)
    end
    if one.ahead > 0 then
        parts[#parts + 1] = ("%s not on %s"):format(format.count(one.ahead, "commit"), one.base)
    end
    return table.concat(parts, ", ")
end

local function add_commit(lines, one)
    if one.unknown then
        add(lines, ("%s: %s"):format(one.commit:sub(1, SHORT), one.unknown), "yellow")
        return
    end
    lines[#lines + 1] = { text = ("%s %s"):format(one.commit:sub(1, SHORT), one.subject),
        cut = true }
    add(lines, ("by %s, %s old, %s"):format(one.author, format.age(one.age), distance(one)))
end

function facts_of.commit(facts, lines, context)
    local unsure = false
    for _, one in ipairs { facts, unpack(facts.others) } do
        add_commit(lines, one)
        unsure = unsure or one.behind_unknown ~= nil
    end
    for _, one in ipairs(context.verbose and facts.commits or {}) do
        lines[#lines + 1] = { style = "dim", cut = true, text = ("+ %s %s, %s: %s"):format(
            one.commit:sub(1, SHORT), ago(context, one.time), one.author, one.subject) }
    end
    return unsure
end

function facts_of.image(facts, lines)
    local digest = facts.digest and facts.digest:match "^sha256:%x+$"
        and facts.digest:sub(1, #"sha256:" + SHORT) or facts.digest
    add(lines, facts.label and digest and ("%s, %s"):format(facts.label, digest)
        or facts.label or digest or facts.image)
end

function facts_of.release(facts, lines, context)
    add(lines, ("v%d %s%s%s"):format(facts.version, facts.status,
        facts.time and ", " .. ago(context, facts.time) or "",
        facts.user and ", by " .. facts.user or ""))
end

local function health(group)
    if group.checked == 0 then
        return "no checks"
    elseif group.healthy == group.checked then
        return group.checked == group.machines and "healthy" or group.healthy .. " healthy"
    end
    return ("%d of %d healthy"):format(group.healthy, group.checked)
end

function facts_of.machines(facts, lines, context)
    for _, group in ipairs(facts.groups) do
        add(lines, ("%s: %s, %s, %s"):format(group.name, counted(group.states), health(group),
            where(group.regions)))
    end
    if facts.cordoned > 0 then
        add(lines, ("%d cordoned"):format(facts.cordoned))
    end
    for _, one in ipairs(facts.leases) do
        add(lines, ("%s is leased by %s for %s"):format(one.machine, one.owner,
            format.age(one.expires - context.now)))
    end
    if facts.others > 0 then
        add(lines, format.count(facts.others, "other machine") .. " not managed by deploys", "dim")
    end
end

function facts_of.crons(list, lines, context)
    local unsure = false
    for _, one in ipairs(list) do
        local parts = { one.schedule or one.state, one.schedule and one.state }
        local ticked = one.last_tick and time_of.parse(one.last_tick)
        parts[#parts + 1] = ticked and "ran " .. ago(context, ticked) or "never ran"
        parts[#parts + 1] = one.exit_code and ("exit %d"):format(one.exit_code) or nil
        if one.kind ~= "missing" then
            add(lines, ("%s: %s"):format(one.name, table.concat(parts, ", ")))
        end
        if one.unknown then
            unsure = true
            add(lines, ("whether it matches its declaration is unknown: %s"):format(one.unknown),
                "yellow")
        end
    end
    return unsure
end

local function named(ids, context)
    if context.verbose or #ids <= NAMED then
        return format.list(ids)
    end
    return ("%s and %d more"):format(table.concat(ids, ", ", 1, NAMED - 1), #ids - NAMED + 1)
end

function facts_of.migrations(facts, lines, context)
    local to_come = facts.to_come
    if facts.pending and #facts.pending > 0 then
        add(lines, "pending: " .. named(facts.pending, context))
    elseif facts.pending then
        add(lines, "none pending")
    end
    if to_come and #to_come > 0 then
        add(lines, ("%d new on %s: %s"):format(#to_come, facts.base, named(to_come, context)))
    elseif to_come and not facts.pending then
        add(lines, ("no new migrations on %s"):format(facts.base))
    end
end

function facts_of.secrets(facts, lines)
    add(lines, #facts.undeclared > 0 and ("%d set; not declared: %s"):format(#facts.set,
        format.list(facts.undeclared)) or ("%d set"):format(#facts.set))
end

function facts_of.lease(facts, lines)
    for _, ticket in ipairs(facts.tickets) do
        add(lines, (ticket.state == "holding" and "held by " or "queued: ")
            .. lease.describe(ticket))
    end
end

function facts_of.runs(list, lines, context)
    for i = 1, context.verbose and #list or 1 do
        local one = list[i]
        local inputs = plain.inputs(one.inputs)
        add(lines, ("%s%s %s %s by %s%s"):format(one.name, inputs ~= "" and " " .. inputs or "",
            one.status, ago(context, one.finished or one.started), one.who or "someone",
            context.verbose and (" (%s)"):format(one.id) or ""))
    end
end

function facts_of.site(list, lines)
    local parts, unsure = {}, false
    for _, one in ipairs(list) do
        if one.good then
            parts[#parts + 1] = ("%s %d in %d ms"):format(one.path, one.status,
                math.ceil(one.seconds * 1000))
        elseif one.good == nil then
            unsure = true
            add(lines, ("%s: unknown: %s"):format(one.path, one.why or "?"), "yellow")
        end
    end
    if #parts > 0 then
        add(lines, table.concat(parts, ", "))
    end
    return unsure
end

---The order in which the sources of a report are shown.
M.order = { "commit", "image", "release", "machines", "crons", "migrations", "secrets", "lease",
    "runs", "site" }

local NARROWEST = 40
local NAME_WIDTH = 11

local called = { crons = "cron", runs = "last run" }

local function styled(style, text)
    return style_of.text("out", style, text)
end

---@class dgrun.ui.status.row
---@field rank integer 1: a problem, 2: something is unknown, 3: all is well
---@field name string
---@field count? integer how many sources the row covers
---@field lines {text: string, style?: dgrun.ui.style, cut?: boolean}[]

---The row of one source; nil when the source has nothing to show.
local function row_of(found, name, context)
    local row = { rank = 3, name = called[name] or name, lines = {} }
    for _, problem in ipairs(found.problems) do
        if problem.source == name then
            row.rank = 1
            row.lines[#row.lines + 1] = { text = problem.text, style = "red" }
        end
    end
    if found[name] then
        local unsure = facts_of[name](found[name], row.lines, context)
        row.rank = unsure and row.rank == 3 and 2 or row.rank
    end
    return #row.lines > 0 and row or nil
end

---Sources that are unknown for the same reason share a row.
local function unknown_rows(found, verbose)
    local rows, by_reason = {}, {}
    for _, name in ipairs(M.order) do
        local e = found.unknown[name]
        local group = e and by_reason[e.msg]
        if e and not group then
            group = { names = {}, e = e }
            by_reason[e.msg] = group
            rows[#rows + 1] = group
        end
        if e then
            table.insert(group.names, called[name] or name)
        end
    end
    for i, group in ipairs(rows) do
        rows[i] = { rank = 2, name = "unknown", count = #group.names, lines = {
            { text = ("%s: %s"):format(table.concat(group.names, ", "), group.e.msg) },
            verbose and group.e.hint and { text = group.e.hint, style = "dim" } or nil,
        } }
    end
    return rows
end

local signs = { { "!", "red" }, { "?", "yellow" }, { " " } }

local function add_row(out, row, width)
    local sign = signs[row.rank]
    local head = ("%s %s"):format(styled(sign[2], sign[1]),
        styled(sign[2] or "dim", format.pad(row.name, NAME_WIDTH)))
    local blank = (" "):rep(2 + NAME_WIDTH)
    local room = width - #blank - 1
    for _, line in ipairs(row.lines) do
        local text = log.clean(line.text)
        for _, part in ipairs(line.cut and { format.cut(text, room) } or format.wrap(text, room)) do
            out[#out + 1] = ("%s %s"):format(head, styled(line.style, part))
            head = blank
        end
    end
end

---"2 problems, 1 unknown", "fine".
local function summary(found, rows)
    local parts, unknown = {}, 0
    for _, row in ipairs(rows) do
        unknown = unknown + (row.rank == 2 and (row.count or 1) or 0)
    end
    if #found.problems > 0 then
        parts[1] = styled("red", format.count(#found.problems, "problem"))
    end
    if unknown > 0 then
        parts[#parts + 1] = styled("yellow", ("%d unknown"):format(unknown))
    end
    return #parts > 0 and table.concat(parts, ", ") or styled("green", "fine")
end

local function add_environment(out, found, context)
    local rows = unknown_rows(found, context.verbose)
    for _, name in ipairs(M.order) do
        rows[#rows + 1] = row_of(found, name, context)
    end
    local title = { styled("bold", found.name), summary(found, rows) }
    if found.app ~= found.name then
        table.insert(title, 2, styled(nil, found.app))
    end
    out[#out + 1] = table.concat(title, "  ")
    for rank = 1, 3 do
        for _, row in ipairs(rows) do
            if row.rank == rank then
                add_row(out, row, context.width)
            end
        end
    end
end

---@param report dgrun.status.report
---@param opts? {verbose?: boolean} adds undeployed commits, more runs, and hints
---@return string # may contain styles
function M.text(report, opts)
    local out = {}
    local context = { now = report.time, verbose = opts and opts.verbose or false,
        width = math.max(NARROWEST, log.columns()) }
    for i, found in ipairs(report.environments) do
        if i > 1 then
            out[#out + 1] = ""
        end
        add_environment(out, found, context)
    end
    return table.concat(out, "\n") .. "\n"
end

return M
