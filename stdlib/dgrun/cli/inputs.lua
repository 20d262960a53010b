-- The inputs of a pipeline as options of the command line: --ref v1, --ref=v1, --allow-older,
-- --no-allow-older; an underscore may be written as a dash. All that is wrong is told at once.
local err = require "dgrun.err"
local pipeline = require "dgrun.pipeline"

local M = {}

---@param name string
---@return string # as it is written: "--allow-older"
function M.flag(name)
    return "--" .. name:gsub("_", "-")
end

local words = { ["true"] = true, yes = true, on = true, ["1"] = true,
    ["false"] = false, no = false, off = false, ["0"] = false }

local function parsed(input, text)
    if input.type == "boolean" then
        return words[text:lower()]
    elseif input.type == "integer" then
        return text:match("^[+-]?%d+$") and tonumber(text) or nil
    end
    return text
end

local function problem(list, code, msg, hint)
    list[#list + 1] = { code = "input." .. code, msg = msg, hint = hint }
end

local function unknown(list, inputs, name)
    local known = {}
    for i, input in ipairs(inputs) do
        known[i] = input.name
    end
    local nearest = require("host.opt").nearest(name, known)
    local hint
    if nearest then
        hint = ("Did you mean %s?"):format(M.flag(nearest))
    elseif #known == 0 then
        hint = "It has no inputs."
    else
        for i, other in ipairs(known) do
            known[i] = M.flag(other)
        end
        hint = "Its inputs are " .. require("dgrun.format").list(known) .. "."
    end
    problem(list, "unknown", ("unknown input %s"):format(M.flag(name)), hint)
end

local function find(inputs, name)
    for _, input in ipairs(inputs) do
        if input.name == name then
            return input
        end
    end
end

---One option and what stands behind its =; returns the input and its text or boolean.
local function recognized(inputs, name)
    local input = find(inputs, name)
    if input then
        return input, nil
    end
    local negated = name:match("^no_(.+)$")
    input = negated and find(inputs, negated)
    if input and input.type == "boolean" then
        return input, false
    end
end

local function set(list, values, input, value, text)
    local flag = M.flag(input.name)
    if values[input.name] ~= nil then
        problem(list, "invalid", flag .. " is given twice")
        return
    end
    local misfit = value == nil and (pipeline.misfit(input, nil) or "another value")
        or pipeline.misfit(input, value)
    if misfit then
        local nearest = input.choices and require("host.opt").nearest(text, input.choices)
        problem(list, "invalid", ("%s must be %s, not '%s'"):format(flag, misfit, text),
            nearest and ("Did you mean '%s'?"):format(nearest))
        value = text
    end
    values[input.name] = value
end

local function read(inputs, arguments, list)
    local values, at = {}, 1
    while arguments[at] do
        local token = arguments[at]
        local name, text = token:match("^%-%-([^=]+)=(.*)$")
        name = (name or token:match("^%-%-(.+)$") or ""):gsub("-", "_")
        local input, value = recognized(inputs, name)
        if name == "" then
            problem(list, "unknown", ("unexpected argument '%s'"):format(token),
                "Inputs are written --name value.")
        elseif not input then
            unknown(list, inputs, name)
            -- What follows is most likely its value.
            if not text and arguments[at + 1] and arguments[at + 1]:sub(1, 1) ~= "-" then
                at = at + 1
            end
        elseif input.type == "boolean" and not text then
            set(list, values, input, value == nil or value)
        elseif value == false then
            problem(list, "invalid", ("%s takes no value"):format(M.flag(name)))
        else
            local following = arguments[at + 1]
            if not text and following and following:sub(1, 2) ~= "--" then
                text, at = following, at + 1
            end
            if text then
                set(list, values, input, parsed(input, text), text)
            else
                values[input.name] = ""
                problem(list, "invalid", M.flag(name) .. " needs a value",
                    following and ("Write %s=%s if that is its value."):format(
                        M.flag(name), following))
            end
        end
        at = at + 1
    end
    return values
end

local function refuse(script, list)
    if #list == 1 then
        local one = list[1]
        err.raise { code = one.code, msg = ("%s: %s"):format(script, one.msg),
            hint = one.hint or ("dgrun help %s tells its inputs."):format(script) }
    end
    local lines = {}
    for i, one in ipairs(list) do
        lines[i] = "  " .. one.msg .. (one.hint and ". " .. one.hint or "")
    end
    err.raise {
        code = "input.invalid",
        msg = ("%s: %d inputs are wrong\n%s"):format(script, #list, table.concat(lines, "\n")),
        hint = ("dgrun help %s tells its inputs."):format(script),
    }
end

---The inputs of a run from its arguments; raises input.* naming everything that is wrong.
---@param p dgrun.pipeline
---@param arguments string[]
---@param script string its name, for messages
---@return table<string, any>
function M.parse(p, arguments, script)
    local list = {}
    local values = read(p.inputs, arguments, list)
    for _, input in ipairs(p.inputs) do
        if values[input.name] == nil then
            values[input.name] = input.default
            if input.required then
                problem(list, "missing", M.flag(input.name) .. " is required", input.help)
            end
        end
    end
    if #list > 0 then
        refuse(script, list)
    end
    return values
end

local function default_text(value)
    if type(value) == "boolean" then
        return value and "yes" or "no"
    end
    return tostring(value)
end

local function placeholder(input)
    if input.type == "choice" then
        return table.concat(input.choices, "|")
    end
    return input.type == "integer" and "N" or input.name:upper()
end

---How an input is written: "--ref REF", "--allow-older".
---@return string
function M.usage(input)
    if input.type ~= "boolean" then
        return M.flag(input.name) .. " " .. placeholder(input)
    end
    return input.default and M.flag("no_" .. input.name) or M.flag(input.name)
end

---What is said about an input: its help, then its default.
---@return string
function M.explain(input)
    local note
    if input.required then
        note = "required"
    elseif input.default ~= nil and input.default ~= "" and input.type ~= "boolean" then
        note = "default " .. default_text(input.default)
    end
    local help = input.help or ""
    if not note then
        return help
    end
    return help == "" and note or ("%s (%s)"):format(help, note)
end

---A row for each input, to be aligned: how it is written, and what it is.
---@param p dgrun.pipeline
---@return string[][]
function M.rows(p)
    local rows = {}
    for i, input in ipairs(p.inputs) do
        rows[i] = { M.usage(input), M.explain(input) }
    end
    return rows
end

return M
