-- Hazards of revision files as text for people.
local format = require "dgrun.core.format"
local log = require "host.log"
local style = require "dgrun.ui.style"

local M = {}

local colors = { danger = "red", warning = "yellow" }

---@param finding dgrun.migrations.lint.finding
local function of_finding(finding)
    local color = finding.blocks and (colors[finding.severity] or "yellow") or "dim"
    local lines = { ("%s:%d: %s: %s"):format(log.clean(finding.file), finding.line,
        style.text("out", color, finding.rule), log.clean(finding.why)) }
    local function add(text)
        lines[#lines + 1] = "    " .. log.clean(text)
    end
    add(finding.statement)
    if finding.detail then
        add(finding.detail)
    end
    add(finding.accepted and "accepted: " .. finding.accepted
        or "instead: " .. finding.instead)
    return table.concat(lines, "\n")
end

local function counts(report)
    local parts = {}
    local function add(n, text, plural)
        parts[#parts + 1] = n > 0 and format.count(n, text, plural) or nil
    end
    add(report.blocking, "unaccepted finding", "unaccepted findings")
    add(report.accepted, "accepted", "accepted")
    add(report.others, "note")
    return #parts > 0 and table.concat(parts, ", ") or "no problems found"
end

---@param report dgrun.migrations.lint.report
---@return string
function M.lint(report)
    local since = log.clean(report.since)
    if #report.revisions == 0 then
        return ("No revisions since %s.\n"):format(since)
    end
    local lines = {}
    for _, revision in ipairs(report.revisions) do
        for _, finding in ipairs(revision.findings) do
            lines[#lines + 1] = of_finding(finding)
        end
    end
    if report.blocking > 0 then
        lines[#lines + 1] = "To accept a finding, add a comment with the reason to its file: "
            .. "# dgrun: accept RULE: reason"
    end
    lines[#lines + 1] = ("%s since %s: %s"):format(
        format.count(#report.revisions, "revision"), since, counts(report))
    return table.concat(lines, "\n") .. "\n"
end

return M
