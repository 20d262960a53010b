-- Types and keys of a fly.toml against its schema. What flyctl cannot read is a problem; what it
-- would silently ignore is a warning that names the nearest key there is.
local opt = require "host.opt"
local schema = require "dgrun.fly.schema"
local units = require "dgrun.fly.units"

local M = {}

---@class dgrun.fly.finding
---@field path (string|integer)[]
---@field text string

local walk

local function extended(path, key)
    local result = { unpack(path) }
    result[#result + 1] = key
    return result
end

---"services[0].ports": as flyctl counts.
---@param path (string|integer)[]
---@return string
function M.path_text(path)
    local text = ""
    for _, key in ipairs(path) do
        if type(key) == "number" then
            text = ("%s[%d]"):format(text, key - 1)
        else
            text = text == "" and key or text .. "." .. key
        end
    end
    return text
end

local function shown(value)
    return type(value) == "string" and "'" .. value .. "'"
        or (type(value) == "table" and "a table" or tostring(value))
end

local simple = {
    string = { "a string", function(v) return type(v) == "string" end },
    boolean = { "true or false", function(v) return type(v) == "boolean" end },
    number = { "a number", function(v) return type(v) == "number" end },
    integer = { "a whole number", function(v) return type(v) == "number" and v % 1 == 0 end },
    scalar = { "a string, a number or a boolean", function(v) return type(v) ~= "table" end },
    size = { "a size", function(v) return type(v) == "string" or type(v) == "number" end },
    headers = { "a table of headers", function(v) return type(v) == "table" end },
    any = { "", function() return true end },
}

local function one_of(value, choices, path, findings)
    for _, choice in ipairs(choices) do
        if value == choice then
            return
        end
    end
    local names = {}
    for _, choice in ipairs(choices) do
        names[#names + 1] = type(choice) == "string" and choice or nil
    end
    findings.problem(path, ("%s is not one of %s"):format(shown(value), table.concat(names, ", ")))
end

local function duration(value, path, findings)
    if type(value) == "number" or (type(value) == "string" and units.seconds(value)) then
        return
    end
    findings.problem(path, ("%s is not a duration; write 10s, 500ms or 1m30s"):format(
        shown(value)))
end

local function fields(value, known, path, findings)
    local names = {}
    for name in pairs(known) do
        names[#names + 1] = name
    end
    table.sort(names)
    for name, item in pairs(value) do
        if known[name] then
            walk(item, known[name], extended(path, name), findings)
        else
            local nearest = opt.nearest(tostring(name), names)
            findings.warning(extended(path, name), ("unknown key; it has no effect%s"):format(
                nearest and ("; did you mean '%s'?"):format(nearest) or ""))
        end
    end
end

local function is_list(value)
    return #value > 0 or next(value) == nil
end

function walk(value, shape, path, findings)
    if type(shape) == "string" then
        local wanted, fits = unpack(simple[shape])
        if not fits(value) then
            findings.problem(path, ("must be %s, not %s"):format(wanted, shown(value)))
        end
    elseif shape.one_of then
        one_of(value, shape.one_of, path, findings)
    elseif shape.duration then
        duration(value, path, findings)
    elseif type(value) ~= "table" then
        findings.problem(path, ("must be a %s, not %s"):format(
            shape.list and "list" or "table", shown(value)))
    elseif shape.list then
        if not is_list(value) then
            return findings.problem(path, shape.list == "string" and "must be a list of strings"
                or "must be an array of tables ([[…]])")
        end
        for i, item in ipairs(value) do
            walk(item, shape.list, extended(path, i), findings)
        end
    elseif #value > 0 then
        findings.problem(path, "must be a table, not a list")
    elseif shape.map then
        for name, item in pairs(value) do
            walk(item, shape.map, extended(path, name), findings)
        end
    else
        fields(value, shape.fields, path, findings)
    end
end

---What was found, for people: sorted by where it stands.
---@param find_line fun(path: (string|integer)[]): integer?
---@param file string
---@return {problem: fun(path: table, text: string), warning: fun(path: table, text: string),
---  problems: fun(): string[], warnings: fun(): string[]}
function M.findings(find_line, file)
    local found = { problem = {}, warning = {} }
    local function adder(kind)
        return function(path, text)
            table.insert(found[kind], { path = path, text = text })
        end
    end
    local function lines(kind)
        local result = {}
        for i, one in ipairs(found[kind]) do
            local line = find_line(one.path)
            local name = M.path_text(one.path)
            result[i] = {
                line = line or 0,
                text = ("%s%s: %s%s"):format(file, line and (":%d"):format(line) or "",
                    name ~= "" and name .. ": " or "", one.text),
            }
        end
        table.sort(result, function(a, b)
            if a.line ~= b.line then
                return a.line < b.line
            end
            return a.text < b.text
        end)
        for i, one in ipairs(result) do
            result[i] = one.text
        end
        return result
    end
    return {
        problem = adder "problem", warning = adder "warning",
        problems = function() return lines "problem" end,
        warnings = function() return lines "warning" end,
    }
end

---@param data table without legacy forms
---@param findings table of M.findings
function M.types(data, findings)
    walk(data, schema, {}, findings)
end

return M
