-- Usage of inputs, for help texts.
local inputs = require "dgrun.cli.inputs"

local M = {}

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
    return input.type == "integer" and "N" or input.type == "seconds" and "TIME"
        or input.name:upper()
end

---The usage of an input: "--ref REF", "--allow-older".
---@return string
function M.usage(input)
    local short = input.short and ("-%s, "):format(input.short) or ""
    if input.positional then
        return placeholder(input) .. (input.many and "..." or "")
    elseif input.type ~= "boolean" then
        return short .. inputs.flag(input.name) .. " " .. placeholder(input)
    end
    return short .. inputs.flag(input.default and "no_" .. input.name or input.name)
end

---Usage without options: "dgrun machines stop WHERE ID..."
---@param called string "machines stop"
---@param face dgrun.cli.face
---@return string
function M.words(called, face)
    return M.line(called, { inputs = {}, arguments = face.arguments, rest = face.rest })
end

---One line: "dgrun exec WHERE [--machine MACHINE] -- COMMAND..."
---@param called string "exec"
---@param face dgrun.cli.face
---@return string
function M.line(called, face)
    local parts = { "dgrun " .. called }
    local function add(input)
        local text = M.usage(input):gsub("^%-%a, ", "")
        parts[#parts + 1] = input.required and text or "[" .. text .. "]"
    end
    for _, input in ipairs(face.arguments or {}) do
        add(input)
    end
    for _, input in ipairs(face.inputs) do
        add(input)
    end
    if face.rest then
        parts[#parts + 1] = ("-- %s..."):format(face.rest:upper())
    end
    return table.concat(parts, " ")
end

---The description of an input: its help, then its default.
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

---A row for each argument and input: usage, description.
---@param face dgrun.cli.face
---@return string[][]
function M.rows(face)
    local rows = {}
    for _, list in ipairs { face.arguments or {}, face.inputs } do
        for _, input in ipairs(list) do
            rows[#rows + 1] = { M.usage(input), M.explain(input) }
        end
    end
    return rows
end

return M
