-- The result of dg.secrets.where as text. It contains no values.
local format = require "dgrun.core.format"

local M = {}

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

---@param data dgrun.secrets.where
---@return string
function M.text(data)
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
