-- What a pipeline file returns: a description, typed inputs, and the function that runs.
-- The declaration is checked when the file is loaded, before anything runs.
local check = require "dgrun.check"
local err = require "dgrun.err"

local M = {}

---@class dgrun.pipeline.input
---@field type? "string"|"boolean"|"integer"|"choice" string when it is absent
---@field choices? string[] for a choice
---@field default? any false for a boolean when it is absent
---@field required? boolean
---@field help? string one line

---@class dgrun.pipeline.concurrency
---@field group string|fun(input: table): string of all runs of a group only one goes on at a time:
---  the app, mostly
---@field when_busy? "wait"|"supersede"|"fail" wait in turn (the default); stop those before at
---  their next safe point and take over; or fail at once

---@class dgrun.pipeline.declaration
---@field description string one line
---@field inputs? table<string, dgrun.pipeline.input>
---@field concurrency? dgrun.pipeline.concurrency
---@field run fun(input: table): any

---@class dgrun.pipeline
---@field description string
---@field inputs dgrun.pipeline.input[] by name, each with its `name` and `type`
---@field concurrency? dgrun.pipeline.concurrency
---@field run fun(input: table): any
local Pipeline = { __name = "dgrun.pipeline" }
Pipeline.__index = Pipeline

local input_spec = {
    type = "string?", choices = "table?", default = "any?", required = "boolean?", help = "string?",
}

-- Options of dgrun itself, which stand before or after the script's name.
local reserved = { help = true, sandbox = true, trace = true, version = true }

---Does a value fit an input? Returns nil, or what it must be.
local fits = {
    string = function(value) return type(value) ~= "string" and "a string" or nil end,
    boolean = function(value) return type(value) ~= "boolean" and "true or false" or nil end,
    integer = function(value)
        local whole = type(value) == "number" and value % 1 == 0 and math.abs(value) <= 2 ^ 53
        return not whole and "a whole number" or nil
    end,
    choice = function(value, input)
        for _, choice in ipairs(input.choices) do
            if value == choice then
                return nil
            end
        end
        return "one of " .. table.concat(input.choices, ", ")
    end,
}

---What a value must be to fit the input; nil when it fits.
---@return string?
function M.misfit(input, value)
    return fits[input.type](value, input)
end

local function refuse(message, ...)
    err.raise { code = "pipeline.invalid", op = "dg.pipeline", msg = message:format(...) }
end

local function check_choices(name, input)
    if input.type ~= "choice" then
        if input.choices then
            refuse("input '%s' has choices, but is of type %s", name, input.type)
        end
        return
    end
    if not input.choices or #input.choices == 0 then
        refuse("input '%s' is a choice: it needs choices = { … }", name)
    end
    for _, choice in ipairs(input.choices) do
        if type(choice) ~= "string" then
            refuse("input '%s': its choices must be strings", name)
        end
    end
end

local function checked_input(name, declared)
    if type(name) ~= "string" or not name:match("^[a-z][a-z0-9_]*$") then
        refuse("an input is called like this_1, not %s", tostring(name))
    elseif reserved[name] then
        refuse("an input cannot be called '%s': --%s is an option of dgrun itself", name, name)
    elseif type(declared) ~= "table" then
        refuse("input '%s' must be a table such as { default = \"main\" }", name)
    end
    check.options(declared, input_spec, ("dg.pipeline: input '%s'"):format(name))
    local input = { name = name }
    for key, value in pairs(declared) do
        input[key] = value
    end
    input.type = input.type or input.choices and "choice" or "string"
    check.known(input.type, fits, ("dg.pipeline: input '%s' has no type"):format(name),
        "pipeline.invalid")
    check_choices(name, input)
    if input.type == "boolean" and input.default == nil and not input.required then
        input.default = false
    end
    if input.required and input.default ~= nil then
        refuse("input '%s' is required, so its default is never used", name)
    end
    local misfit = input.default ~= nil and M.misfit(input, input.default)
    if misfit then
        refuse("input '%s': its default must be %s", name, misfit)
    end
    return input
end

local ways = { wait = true, supersede = true, fail = true }

local function check_group(group)
    if type(group) ~= "string" or group == "" or #group > 200 or group:find("%c") then
        refuse("the group of concurrency is 1 to 200 printable characters, such as env.app")
    end
end

local function checked_concurrency(declared)
    if not declared then
        return nil
    end
    local op = "dg.pipeline: concurrency"
    check.options(declared, { group = "any", when_busy = "string?" }, op)
    local when_busy = declared.when_busy or "wait"
    check.known(when_busy, ways, op .. " has no way", "pipeline.invalid")
    if type(declared.group) ~= "function" then
        check_group(declared.group)
    end
    return { group = declared.group, when_busy = when_busy }
end

---The group of a run with these inputs.
---@param p dgrun.pipeline
---@param input table
---@return string
function M.group(p, input)
    local group = p.concurrency.group
    if type(group) == "function" then
        group = group(input)
        check_group(group)
    end
    return group
end

---Declares a pipeline; a pipeline file returns the result.
---@param declaration dgrun.pipeline.declaration
---@return dgrun.pipeline
function M.new(declaration)
    check.options(declaration, { description = "string", inputs = "table?", run = "function",
        concurrency = "table?" }, "dg.pipeline")
    local inputs = {}
    for name, declared in pairs(declaration.inputs or {}) do
        inputs[#inputs + 1] = checked_input(name, declared)
    end
    -- Lua does not keep the order they were written in: required ones first, then by name.
    table.sort(inputs, function(a, b)
        if (a.required or false) ~= (b.required or false) then
            return a.required or false
        end
        return a.name < b.name
    end)
    return setmetatable({
        description = declaration.description, inputs = inputs, run = declaration.run,
        concurrency = checked_concurrency(declaration.concurrency),
    }, Pipeline)
end

---@return boolean
function M.is(value)
    return type(value) == "table" and getmetatable(value) == Pipeline
end

return M
