-- What the store of runs contains, as text for people: runs and locks.
local advice_of = require "dgrun.run.advice"
local effect = require "dgrun.run.effect"
local format = require "dgrun.core.format"
local lease = require "dgrun.run.lock"
local plain = require "dgrun.ui.plain"
local plan = require "dgrun.run.plan"
local time_of = require "host.time"

local M = {}

local function when(seconds)
    return (time_of.iso(seconds):sub(1, 16):gsub("T", " "))
end

local function took(row)
    return row.finished and row.finished >= row.started
        and format.duration(row.finished - row.started) or ""
end

---The arguments as they were typed; the inputs of a run whose arguments were not recorded.
local function inputs_of(row)
    return row.arguments and format.shell_words(row.arguments) or plain.inputs(row.input or {})
end

---@param rows table[] of dgrun.history
---@return string # a line for each run
function M.table(rows)
    local cells = { { "RUN", "SCRIPT", "STATUS", "STARTED (UTC)", "DURATION", "INPUTS" } }
    for _, row in ipairs(rows) do
        local inputs = inputs_of(row)
        cells[#cells + 1] = { row.id, row.name .. (row.sandbox == 1 and " (sandbox)" or ""),
            row.status .. (row.sure and "" or "?"), when(row.started), took(row),
            #inputs > 60 and inputs:sub(1, 57) .. "..." or inputs }
    end
    return table.concat(format.columns(cells), "\n") .. "\n"
end

-- The outcome of an effect that did not simply succeed.
local UNCERTAIN = "started, but may not have finished"
local outcomes = {
    intent = UNCERTAIN, unknown = UNCERTAIN, interrupted = UNCERTAIN, failed = "failed",
    settled = "started; a later attempt found its result and handled it",
}

local function show_effect(lines, e)
    e.action = effect.action(e)
    local text = ("  %s %s"):format(plan.signs[e.action], e.summary)
    local notes = {}
    if e.finished and e.finished - e.started >= 0.05 then
        notes[1] = format.duration(e.finished - e.started)
    end
    notes[#notes + 1] = outcomes[e.status]
    if #notes > 0 then
        text = ("%s  (%s)"):format(text, table.concat(notes, "; "))
    end
    lines[#lines + 1] = text
    for _, line in ipairs(plan.details(e, "      ")) do
        lines[#lines + 1] = line
    end
    if e.error and e.status == "failed" then
        lines[#lines + 1] = "      " .. (e.error.msg or e.error.code):gsub("\n", "\n      ")
    end
end

local function show_step(lines, name, status, step, effects)
    local head = ("%s: %s"):format(name, status)
    local time = step and took(step) or ""
    lines[#lines + 1] = ""
    lines[#lines + 1] = time ~= "" and ("%s in %s"):format(head, time) or head
    for _, e in ipairs(effects) do
        show_effect(lines, e)
    end
    if step and step.error and status ~= "done" then
        lines[#lines + 1] = "  " .. (step.error.msg or step.error.code):gsub("\n", "\n  ")
    end
end

---What to do about a run that did not finish.
local function advice(row)
    if row.status == "killed" or row.status == "cancelled" then
        return "Continue where it stopped: dgrun resume " .. row.id
    elseif row.status == "failed" then
        local e = row.error
        return e and (e.hint or advice_of.correction(e))
            or "Continue at the failed step: dgrun resume " .. row.id
    end
end

---One run, step by step.
---@param row table of dgrun.history
---@param steps table[]
---@param effects table[]
---@return string
function M.whole(row, steps, effects)
    local inputs = inputs_of(row)
    local lines = { ("%s%s%s"):format(row.name, inputs ~= "" and "  " .. inputs or "",
        row.sandbox == 1 and "  (sandbox)" or ""), "" }
    local facts = {
        { "run", row.id .. (row.attempt > 1 and (", %d attempts"):format(row.attempt) or "") },
        { "status", row.status .. (row.sure and "" or ", as far as this computer can tell") },
        { "started", when(row.started) .. " UTC"
            .. (took(row) ~= "" and ", took " .. took(row) or "") },
        { "by", lease.whose(row) },
    }
    if row.commit_id then
        facts[#facts + 1] = { "commit", row.commit_id:sub(1, 12) }
    end
    if row.lease then
        facts[#facts + 1] = { "group", row.lease }
    end
    for _, line in ipairs(format.columns(facts, "  ")) do
        lines[#lines + 1] = line
    end
    local by_step, outside, killed = {}, {}, row.status == "killed"
    for _, e in ipairs(effects) do
        local list = e.step and (by_step[e.step] or {}) or outside
        if e.step then
            by_step[e.step] = list
        end
        list[#list + 1] = e
    end
    for _, step in ipairs(steps) do
        local status = step.status == "running" and killed and "killed" or step.status
        show_step(lines, step.name, status, step, by_step[step.seq] or {})
    end
    if #outside > 0 then
        show_step(lines, "Outside any step", "", nil, outside)
    end
    local e = row.error
    if e then
        lines[#lines + 1] = ""
        lines[#lines + 1] = ("%s%s: %s"):format(row.status, e.step and " at step " .. e.step or "",
            (e.msg or e.code):gsub("\n", "\n  "))
        if e.where then
            lines[#lines + 1] = "  where  " .. e.where
        end
    end
    local next_step = advice(row)
    if next_step then
        lines[#lines + 1] = ""
        lines[#lines + 1] = "next   " .. next_step
    end
    return table.concat(lines, "\n") .. "\n"
end

---Who holds each group, which runs wait for it, and which groups are frozen.
---@param rows dgrun.store.ticket[] by group, the holder first
---@param holds table[]
---@return string
function M.locks(rows, holds)
    local lines = {}
    for _, hold in ipairs(holds) do
        lines[#lines + 1] = lease.describe_hold(hold)
        lines[#lines + 1] = ("  Ask %s. To release the hold: dgrun lock release %s"):format(
            hold.who or "them", hold.name)
    end
    for _, row in ipairs(rows) do
        if row.state == "holding" then
            lines[#lines + 1] = ("%s is held by %s"):format(row.name, lease.describe(row))
        else
            lines[#lines + 1] = ("queued for %s: %s"):format(row.name, lease.describe(row))
        end
        if row.left <= 0 then
            lines[#lines + 1] = "  The holder is not responding; the next run will take over."
        end
    end
    if #lines == 0 then
        return "No locks are held, and no runs are waiting.\n"
    end
    return table.concat(lines, "\n") .. "\n"
end

return M
