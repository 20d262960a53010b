-- All that dgrun can be asked to do in a project, found from its own lists: each command word, each
-- pipeline, each action of each command, with words that fit what it declares.
local json = require "dgrun.core.json"

local M = {}

local LIST = [[
local scripts = require "dgrun.cli.scripts"
local names, seen, list = scripts.names("."), {}, {}
for _, name in ipairs(require("dgrun.cli.scripts").shipped()) do
    names[#names + 1] = name
end
local function face(one)
    local found = {}
    for key, value in pairs(one) do
        found[key] = (type(value) == "string" or type(value) == "boolean") and value or nil
    end
    found.choices = one.choices
    return found
end
local function faces(inputs)
    local found = {}
    for i, one in ipairs(inputs or {}) do
        found[i] = face(one)
    end
    return found
end
for _, name in ipairs(names) do
    local script = scripts.find(name)
    scripts.load(script)
    local value = not seen[name] and scripts.declares(script)
        and scripts.declaration(script, { names_only = true })
    if value and require("dgrun.project.pipeline").is(value) then
        list[#list + 1] = { script = name, inputs = faces(value.inputs),
            arguments = faces(value.arguments) }
    elseif value then
        for _, action in pairs(value.actions) do
            list[#list + 1] = { script = name, action = action.name, rest = action.rest,
                shows = action.show ~= nil, inputs = faces(action.inputs),
                arguments = faces(action.arguments) }
        end
    end
    seen[name] = true
end
local words = {}
for word in pairs(require("dgrun.cli.builtins").commands) do
    words[#words + 1] = word
end
table.sort(words)
io.write(require("dgrun.core.json").encode { words = words, scripts = list })
]]

---@class support.all_commands.one
---@field script string
---@field action? string of a command; "" when it has no actions
---@field arguments table[]
---@field inputs table[]
---@field rest? string
---@field shows? boolean it takes --json

---@param run fun(argv: string[]): table
---@return {words: string[], scripts: support.all_commands.one[]}
function M.find(run)
    local result = run { "-e", LIST }
    assert(result.status == 0, result.all)
    local found = json.decode(result.stdout)
    table.sort(found.scripts, function(a, b)
        if a.script ~= b.script then
            return a.script < b.script
        end
        return (a.action or "") < (b.action or "")
    end)
    return found
end

---@return string # "machines stop"
function M.name(one)
    return one.script .. ((one.action or "") ~= "" and " " .. one.action or "")
end

local fallback = { integer = "1", seconds = "1s", string = "x" }

---@param kinds table<string, fun(): string> a word of each kind of completion
local function value_of(input, kinds)
    local kind = kinds[input.complete or ""] or kinds[input.name]
    return input.choices and input.choices[#input.choices] or kind and kind()
        or fallback[input.type or "string"]
end

---The words that ask for it: what must be there, and the plain words whose kind is known.
---@param one support.all_commands.one
---@param kinds table<string, fun(): string>
---@return string[]
function M.words(one, kinds)
    local words = { one.script }
    if (one.action or "") ~= "" then
        words[2] = one.action
    end
    for _, argument in ipairs(one.arguments or {}) do
        if argument.required or kinds[argument.complete or ""] then
            words[#words + 1] = value_of(argument, kinds)
        end
    end
    for _, input in ipairs(one.inputs) do
        if input.required then
            words[#words + 1] = "--" .. input.name:gsub("_", "-")
            words[#words + 1] = value_of(input, kinds)
        end
    end
    if one.rest then
        words[#words + 1], words[#words + 2] = "--", "true"
    end
    return words
end

return M
