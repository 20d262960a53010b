-- Secrets as text for people: names, digests, and what to do; never a value.
local format = require "dgrun.core.format"
local log = require "host.log"
local opt = require "host.opt"
local style = require "dgrun.ui.style"
local tables = require "dgrun.core.table"

local M = {}

local function lines_of(rows)
    for _, row in ipairs(rows) do
        for i, cell in ipairs(row) do
            row[i] = log.clean(cell)
        end
    end
    return format.columns(rows)
end

local function warning(text)
    return style.text("out", "yellow", text)
end

local function finished(lines)
    return table.concat(lines, "\n") .. "\n"
end

---"2026-08-01T10:00:00Z" → "2026-08-01 10:00"
local function moment(iso)
    return iso and iso:sub(1, 16):gsub("T", " ") or ""
end

---"prod, draft-app-prod, secrets version 3"
local function titled(data)
    local title = data.environment and ("%s, %s"):format(data.environment, data.app) or data.app
    return style.text("out", "bold", title)
        .. (data.version and (", secrets version %d"):format(data.version) or "")
end

---What scripts/secrets.lua adds to the library's data.
---@class dgrun.ui.secrets.target
---@field environment? string name of the app's environment
---@field declared? table<string, string> by name how the environment declares it

---@param overview dgrun.secrets.overview|dgrun.ui.secrets.target
---@return string
function M.list(overview)
    local lines = { titled(overview), "" }
    local rows = { { "NAME", "DIGEST", "SET (UTC)", "DECLARED" } }
    for _, secret in ipairs(overview.secrets) do
        rows[#rows + 1] = { secret.name, secret.digest or "not set", moment(secret.updated_at),
            secret.declared or (overview.environment and "no" or "?") }
    end
    if #overview.secrets == 0 then
        return finished { lines[1], "", "No secrets are set." }
    end
    for _, line in ipairs(lines_of(rows)) do
        lines[#lines + 1] = line
    end
    lines[#lines + 1] = (#overview.missing > 0 or #(overview.behind or {}) > 0) and "" or nil
    if #overview.missing > 0 then
        lines[#lines + 1] = warning(("Declared, but not set: %s."):format(
            format.list(overview.missing)))
    end
    if #(overview.behind or {}) > 0 then
        lines[#lines + 1] = warning(("%s may not have version %d of the secrets yet: %s. The next "
            .. "deploy updates %s."):format(format.count(#overview.behind, "machine"),
            overview.version, format.list(overview.behind),
            #overview.behind == 1 and "it" or "them"))
    end
    return finished(lines)
end

local function machines_line(machines)
    if not machines then
        return "Staged: machines get the change with the next deploy."
    elseif #machines == 0 then
        return "No machines needed an update."
    end
    return ("%s updated: %s."):format(format.count(#machines, "machine") .. (#machines == 1
        and " was" or " were"), format.list(machines))
end

---What the environment declares for names that were set manually.
local function advise(result, lines)
    local by = { literal = {}, sources = {}, none = {} }
    for _, name in ipairs(result.declared and result.set or {}) do
        local how = result.declared[name]
        table.insert(by[how == "literal" and how or how and "sources" or "none"], name)
    end
    local function say(list, text)
        if #list > 0 then
            lines[#lines + 1] = text:format(format.list(list))
        end
    end
    say(by.sources, ("%%s: the next deploy sets the value from the sources of %s; change it "
        .. "there too."):format(result.environment))
    say(by.literal, "%s: the next deploy sets the literal from environments.yaml; change it there "
        .. "too.")
    say(by.none, "%s: not declared in environments.yaml; deploys do not change it.")
    local known = tables.keys(result.declared)
    for _, name in ipairs(by.none) do
        local nearest = opt.nearest(name, known)
        lines[#lines + 1] = nearest and warning(("Did you mean %s instead of %s?")
            :format(nearest, name)) or nil
    end
end

---@param result dgrun.secrets.result|dgrun.ui.secrets.target
---@return string
function M.set(result)
    local words = { new = "set", changed = "changed", unknown = "set again",
        unchanged = "already had this value" }
    local rows, lines = {}, {}
    for _, state in ipairs { "new", "changed", "unknown", "unchanged" } do
        for _, name in ipairs(result[state]) do
            rows[#rows + 1] = { name, words[state] }
        end
    end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    lines[1] = titled(result)
    for _, line in ipairs(lines_of(rows)) do
        lines[#lines + 1] = "  " .. line
    end
    lines[#lines + 1] = (#result.set > 0 or result.machines) and machines_line(result.machines)
        or nil
    advise(result, lines)
    return finished(lines)
end

---@param result dgrun.secrets.unset.result|dgrun.ui.secrets.target
---@return string
function M.unset(result)
    local rows = {}
    for _, name in ipairs(result.unset) do
        rows[#rows + 1] = { name, "removed" }
    end
    for _, name in ipairs(result.absent) do
        rows[#rows + 1] = { name, "was not set" }
    end
    local lines = { titled(result) }
    for _, line in ipairs(lines_of(rows)) do
        lines[#lines + 1] = "  " .. line
    end
    lines[#lines + 1] = (#result.unset > 0 or result.machines) and machines_line(result.machines)
        or nil
    local again = {}
    for _, name in ipairs(result.declared and result.unset or {}) do
        again[#again + 1] = result.declared[name] and name or nil
    end
    if #again > 0 then
        lines[#lines + 1] = ("%s: still declared in environments.yaml. The next deploy that finds "
            .. "a value sets it again."):format(format.list(again))
    end
    return finished(lines)
end

local reasons = { others = "someone else changed it", never = "not set by this dgrun" }

local actions = { new = "set it", changed = "set it", unchanged = "do nothing",
    unknown = "set it again", extra = "do nothing; prune would remove it",
    kept = "do nothing: no source has a value" }

---@param diff dgrun.secrets.diff|dgrun.ui.secrets.target
---@return string
function M.diff(diff)
    local rows = { { "NAME", "DECLARED", "STATE", "A DEPLOY WOULD" } }
    for _, entry in ipairs(diff.names) do
        rows[#rows + 1] = { entry.name, entry.declared or "no",
            entry.state .. (entry.reason and (" (%s)"):format(reasons[entry.reason]) or ""),
            actions[entry.state] }
    end
    local lines = { titled(diff), "" }
    for _, line in ipairs(lines_of(rows)) do
        lines[#lines + 1] = line
    end
    return finished(lines)
end

local function side_text(side)
    if not side.declared and not side.present then
        return "-"
    end
    return (side.declared or "not declared") .. (side.present and "" or ", not set")
end

---@param comparison dgrun.secrets.comparison
---@return string
function M.compare(comparison)
    local left, right = comparison.left, comparison.right
    local rows = { { "NAME", left.name:upper(), right.name:upper(), "VALUES" } }
    local lines, warnings = {}, {}
    for _, pair in ipairs(comparison.names) do
        rows[#rows + 1] = { pair.name, side_text(pair.left), side_text(pair.right),
            pair.value and (pair.mistake and "THE SAME" or pair.value) or "" }
        if pair.mistake then
            warnings[#warnings + 1] = ("%s is the same in %s and %s: %s."):format(pair.name,
                left.name, right.name, pair.mistake)
        end
    end
    for _, line in ipairs(lines_of(rows)) do
        lines[#lines + 1] = line
    end
    lines[#lines + 1] = ""
    for _, line in ipairs(warnings) do
        lines[#lines + 1] = warning(line)
    end
    if #comparison.unknown > 0 then
        lines[#lines + 1] = "unknown: dgrun did not set the current value, and the sources of "
            .. "the environment have no value here."
    end
    for _, side in ipairs { left, right } do
        if side.unread then
            lines[#lines + 1] = ("The sources of %s could not be read: %s"):format(side.name,
                log.clean(side.unread))
        end
    end
    if lines[#lines] == "" then
        lines[#lines] = nil
    end
    return finished(lines)
end

local function source_lines(data, lines)
    if #data.sources == 0 then
        lines[#lines + 1] = "No sources are configured: only literals have values."
        return
    end
    local rows = {}
    for i, source in ipairs(data.sources) do
        local state = source.state == "absent" and "no such file"
            or source.state == "failed" and "CANNOT BE READ: " .. source.reason or ""
        rows[i] = { tostring(i), source.label, state }
    end
    lines[#lines + 1] = "Sources, in order of precedence:"
    for _, line in ipairs(format.columns(rows, "  ")) do
        lines[#lines + 1] = line
    end
    for _, source in ipairs(data.sources) do
        if source.hint then
            lines[#lines + 1] = "  " .. source.hint
        end
    end
    for _, text in ipairs(data.warnings) do
        lines[#lines + 1] = "  warning: " .. text
    end
end

local function from_of(one)
    if one.state == "missing" then
        return "MISSING"
    elseif one.state == "absent" then
        return "-"
    end
    return one.line and ("%s:%d"):format(one.from, one.line) or one.from
end

local function remarks_of(one)
    local remarks = {}
    for _, words in ipairs(one.broken) do
        remarks[#remarks + 1] = "INVALID: " .. words
    end
    remarks[#remarks + 1] = one.advice
    if #one.shadowed > 0 then
        remarks[#remarks + 1] = "overrides the value in " .. format.list(one.shadowed)
    end
    if one.expands then
        remarks[#remarks + 1] = "contains ${…} or $(…), which is not expanded"
    end
    if one.unmasked then
        remarks[#remarks + 1] = "too short to be masked"
    end
    return table.concat(remarks, "; ")
end

---The result of dg.secrets.where. It contains no values.
---@param data dgrun.secrets.where
---@return string
function M.where(data)
    local lines = { ("Secrets of %s (%s)"):format(data.environment, data.app), "" }
    source_lines(data, lines)
    lines[#lines + 1] = ""
    local rows = { { "NAME", "", "FROM", "" } }
    for _, one in ipairs(data.secrets) do
        rows[#rows + 1] = { one.name, one.need == "literal" and "" or one.need, from_of(one),
            remarks_of(one) }
    end
    if #data.secrets == 0 then
        rows = { { "The environment declares no secrets." } }
    end
    for _, line in ipairs(format.columns(rows, "  ")) do
        lines[#lines + 1] = line
    end
    for _, source in ipairs(data.sources) do
        if #source.undeclared > 0 then
            lines[#lines + 1] = ""
            lines[#lines + 1] = ("In %s, but not declared and therefore not used: %s")
                :format(source.label, table.concat(source.undeclared, ", "))
        end
    end
    return table.concat(lines, "\n") .. "\n"
end

return M
