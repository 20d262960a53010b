-- The output of a run in plain lines, with or without a terminal: progress on standard error as it
-- happens, the summary on standard output, and for a failure what, where, why, and what to do next.
local format = require "dgrun.core.format"
local globals = require "dgrun.core.globals"
local json = require "dgrun.core.json"
local log = require "host.log"
local plan = require "dgrun.run.plan"
local style_of = require "dgrun.ui.style"

---@class dgrun.ui.plain observes a run
local Plain = {}
Plain.__index = Plain

local M = {}

---Text in a style, if standard error shows styles.
local function styled(style, text)
    return style_of.text("err", style, text)
end

local function print_line(text)
    globals.end_line()
    log.err(text .. "\n")
end

---A line below its step. While several steps run, each line names its step.
function Plain:line(step, text, style)
    local mark = "  "
    if step and self.open > 1 then
        mark = ("  [%s] "):format(log.clean(step.name))
    elseif not step and self.open == 0 then
        mark = ""
    end
    print_line(mark .. styled(style, text))
end

function Plain:step_started(step)
    self.open = self.open + 1
    print_line(styled("bold", step.name))
end

local endings = { done = "done", failed = "failed", cancelled = "cancelled" }

function Plain:step_ended(step)
    local seconds, text = step.finished - step.started, endings[step.status]
    if seconds >= 0.05 then
        text = ("%s in %s"):format(text, format.duration(seconds))
    end
    self:line(step, text, step.status == "done" and "dim" or "red")
    self.open = self.open - 1
end

---A step that an earlier attempt of the run finished.
function Plain.step_replayed(_, step)
    print_line(("%s  %s"):format(styled("bold", step.name), styled("dim", "already done")))
end

---What the run waits for before it can start.
function Plain.waiting(_, text)
    print_line(styled("yellow", text))
end

---What a stopping run still waits for.
function Plain.stopping(_, text)
    print_line(styled("yellow", "Stopping: waiting for " .. text
        .. ". A second signal stops the run immediately."))
end

function Plain:note(step, text)
    self:line(step, "· " .. text)
end

function Plain:log(step, text)
    self:line(step, "| " .. text, "dim")
end

function Plain:effect_started(e)
    self:line(e.step, ("%s %s"):format(plan.signs[e.action], e.summary))
end

---@return dgrun.ui.plain
function M.observer()
    return setmetatable({ open = 0 }, Plain)
end

---For a plan: the output of children, but no progress; the plan itself lists the changes.
function M.quiet()
    local plain = M.observer()
    return {
        log = function(_, step, text) plain:log(step, text) end,
    }
end

---The inputs of a run as options: "--allow-older --ref v1.4.0".
---@param input table
---@return string
function M.inputs(input)
    local parts = {}
    for name, value in pairs(input) do
        local flag = "--" .. name:gsub("_", "-")
        if value == true then
            parts[#parts + 1] = flag
        elseif value then
            parts[#parts + 1] = ("%s %s"):format(flag, format.shell_word(type(value) == "string"
                and value or json.masked(value)))
        end
    end
    table.sort(parts)
    return table.concat(parts, " ")
end

---The first line of a run.
---@param r dgrun.run
---@param called? string script and action, where an action was given
function M.title(r, called)
    local inputs = M.inputs(r.input)
    print_line(styled("bold", called or r.name)
        .. (inputs ~= "" and "  " .. log.clean(inputs) or "")
        .. (r.sandbox and "  (sandbox)" or "")
        .. (r.attempt > 1 and ("  (attempt %d of %s)"):format(r.attempt, r.id) or ""))
    print_line("")
end

local function with_status(r, status)
    local list = {}
    for _, e in ipairs(r.effects) do
        if e.status == status and not e.unchanged then
            list[#list + 1] = e
        end
    end
    return list
end

local function effect_lines(list, indent)
    local lines = {}
    for i, e in ipairs(list) do
        lines[i] = ("%s%s %s"):format(indent, plan.signs[e.action], e.summary)
    end
    return lines
end

local function fact_lines(facts)
    local rows = {}
    for i, fact in ipairs(facts) do
        rows[i] = { fact.name, fact.value }
    end
    return format.columns(rows)
end

local changed = { create = "created", update = "updated", destroy = "destroyed", run = "run" }

---The end of a successful run.
---@param r dgrun.run
---@param facts {name: string, value: string}[]
function M.summary(r, facts)
    local done = with_status(r, "done")
    local lines = { "" }
    if #done == 0 then
        lines[2] = ("Nothing changed. Done in %s."):format(format.duration(r.seconds))
    else
        lines[2] = ("Done in %s: %s."):format(format.duration(r.seconds),
            plan.counts(done, changed))
        for _, line in ipairs(effect_lines(done, "  ")) do
            lines[#lines + 1] = line
        end
    end
    if #facts > 0 then
        lines[#lines + 1] = ""
    end
    for _, line in ipairs(fact_lines(facts)) do
        lines[#lines + 1] = line
    end
    log.out(log.clean(table.concat(lines, "\n") .. "\n"))
end

---A titled paragraph: "  where   scripts/prod_deploy.lua:23".
local function paragraph(title, lines)
    for i, line in ipairs(lines) do
        print_line("  " .. styled("bold", format.pad(i == 1 and title or "", 7)) .. log.clean(line))
    end
end

---The causes of an error, one per line.
local function causes(e)
    local lines, depth = {}, 0
    local cause = e.cause
    while cause and depth < 5 do
        local text = type(cause) == "table" and (cause.msg or cause.code) or tostring(cause)
        for line in (tostring(text) .. "\n"):gmatch("(.-)\n") do
            lines[#lines + 1] = line
        end
        cause = type(cause) == "table" and cause.cause or nil
        depth = depth + 1
    end
    return lines
end

local function state_lines(r)
    if r.plan then
        return { "nothing was changed; this was a plan" }
    end
    local done, failed = with_status(r, "done"), with_status(r, "failed")
    for _, e in ipairs(with_status(r, "interrupted")) do
        failed[#failed + 1] = e
    end
    local lines = {}
    if #done == 0 and #failed == 0 then
        return { "nothing was changed" }
    elseif #done > 0 then
        lines[1] = format.count(#done, "change was", "changes were") .. " already made:"
        for _, line in ipairs(effect_lines(done, "  ")) do
            lines[#lines + 1] = line
        end
    end
    local begun = {}
    for _, e in ipairs(failed) do
        if e.began then
            begun[#begun + 1] = e
        end
    end
    if #begun > 0 then
        lines[#lines + 1] = "started, but may not have finished:"
        for _, line in ipairs(effect_lines(begun, "  ")) do
            lines[#lines + 1] = line
        end
    end
    if #lines == 0 then
        return { "nothing was changed" }
    end
    local facts = {}
    for _, fact in ipairs(r.facts) do
        facts[#facts + 1] = fact.name ~= "url" and fact or nil
    end
    for _, line in ipairs(fact_lines(facts)) do
        lines[#lines + 1] = line
    end
    return lines
end

local function headline(r, signal)
    local e = r.error
    local step = e.step and (" at step " .. e.step) or ""
    if r.status == "cancelled" then
        local names = { [2] = "SIGINT", [15] = "SIGTERM" }
        return ("Cancelled%s%s"):format(signal and " by " .. (names[signal] or signal) or "", step)
    elseif r.status == "superseded" then
        return "Superseded" .. step
    end
    return ("%s failed%s"):format(r.plan and "The plan" or "The run", step)
end

local function show_trace(e)
    if e.trace then
        print_line(log.clean((e.trace:gsub("^%s*\n", ""))))
    end
end

---An error outside of a run: what is wrong, and what to do.
---@param e dgrun.err
---@param trace? boolean
function M.complain(e, trace)
    local msg = e.msg or e.code
    print_line(("%s %s"):format(styled("red", "dgrun:"), log.clean(msg)))
    if e.hint then
        print_line("  " .. log.clean(e.hint):gsub("\n", "\n  "))
    end
    if e.where and not msg:find(e.where, 1, true) then
        paragraph("where", { e.where })
    end
    local lines = causes(e)
    if #lines > 0 then
        paragraph("why", lines)
    end
    if trace then
        show_trace(e)
    end
end

---The end of a failed or cancelled run.
---@param r dgrun.run
---@param opts {signal?: integer, next_step: string, trace?: boolean}
function M.failure(r, opts)
    local e = r.error
    if r.status ~= "failed" or #r.steps > 0 then
        print_line("")
    end
    local first, rest = log.clean(e.msg or e.code):match("^([^\n]*)\n?(.*)$")
    if r.status == "cancelled" then
        print_line(styled("yellow", headline(r, opts.signal)))
    else
        print_line(("%s: %s"):format(styled("red", headline(r)), first))
        if rest ~= "" then
            print_line("  " .. rest:gsub("\n", "\n  "))
        end
    end
    if e.where then
        paragraph("where", { e.where })
    end
    local why = causes(e)
    if #why > 0 then
        paragraph("why", why)
    end
    for _, detail in ipairs(e.details or {}) do
        paragraph(detail.title, detail.lines)
    end
    paragraph("state", state_lines(r))
    local lines = {}
    for line in (opts.next_step .. "\n"):gmatch("(.-)\n") do
        lines[#lines + 1] = line
    end
    paragraph("next", lines)
    if opts.trace then
        show_trace(e)
    end
end

return M
