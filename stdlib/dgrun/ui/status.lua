-- The status of environments as text: problems first, then unknown facts, then the rest.
local format = require "dgrun.core.format"
local facts_of = require "dgrun.ui.status_facts"
local log = require "host.log"
local style_of = require "dgrun.ui.style"

local M = {}

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
