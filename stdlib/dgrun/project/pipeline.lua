-- What a pipeline file returns: a description, typed inputs, and the function that runs.
-- The declaration is checked when the file is loaded, before anything runs.
local check = require "dgrun.core.check"
local input_of = require "dgrun.project.input"

local M = {}

---@class dgrun.pipeline.concurrency
---@field group string|fun(input: table): string of all runs of a group only one goes on at a time:
---  the app, mostly
---@field when_busy? "wait"|"supersede"|"fail" wait in turn (the default); stop those before at
---  their next safe point and take over; or fail at once

---@class dgrun.pipeline.declaration
---@field description string one line
---@field arguments? dgrun.command.argument[] plain words in order, as of a command
---@field inputs? table<string, dgrun.input>
---@field concurrency? dgrun.pipeline.concurrency
---@field run fun(input: table): any

---@class dgrun.pipeline
---@field description string
---@field arguments dgrun.input[]
---@field inputs dgrun.input[] by name, each with its `name` and `type`
---@field concurrency? dgrun.pipeline.concurrency
---@field run fun(input: table): any
local Pipeline = { __name = "dgrun.pipeline" }
Pipeline.__index = Pipeline

local by = { op = "dg.pipeline", code = "pipeline.invalid" }

local ways = { wait = true, supersede = true, fail = true }

local function check_group(group)
    if type(group) ~= "string" or group == "" or #group > 200 or group:find("%c") then
        input_of.refuse(by,
            "the concurrency group must be 1 to 200 printable characters, such as env.app")
    end
end

local function checked_concurrency(declared)
    if not declared then
        return nil
    end
    local op = "dg.pipeline: concurrency"
    check.options(declared, { group = "any", when_busy = "string?" }, op)
    local when_busy = declared.when_busy or "wait"
    check.known(when_busy, ways, op .. " has no when_busy value", "pipeline.invalid")
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
    check.options(declaration, { description = "string", arguments = "table?", inputs = "table?",
        run = "function", concurrency = "table?" }, "dg.pipeline")
    local arguments, inputs = input_of.words(by, declaration)
    return setmetatable({
        description = declaration.description, run = declaration.run,
        arguments = arguments, inputs = inputs,
        concurrency = checked_concurrency(declaration.concurrency),
    }, Pipeline)
end

---@return boolean
function M.is(value)
    return type(value) == "table" and getmetatable(value) == Pipeline
end

return M
