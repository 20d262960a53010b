-- What the file of a command returns: an operation for people, such as `dgrun machines stop prod`.
-- Unlike a pipeline it has no steps and takes no group; it may show what it found. An action may be
-- a pipeline, and is run as one.
local check = require "dgrun.core.check"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local input_of = require "dgrun.project.input"
local opt = require "host.opt"
local pipeline = require "dgrun.project.pipeline"
local target_of = require "dgrun.project.target"

local M = {}

---@class dgrun.command.argument: dgrun.input
---@field name string
---@field complete? string|fun(input: table): string[] "target" for an environment or an app: `run`
---  gets a dgrun.target (or a list of them), and the command gets --app too, for other apps

---@class dgrun.command.action
---@field description string one line
---@field arguments? dgrun.command.argument[] plain words in order; the last may be `many`
---@field inputs? table<string, dgrun.input>
---@field rest? string the name under which `run` gets the words behind `--`, a list
---@field run fun(input: table): any, dgrun.err? what it found; and what is wrong with that, which
---  is reported after it, unless it is `silent`, and gives the exit status (`exit_status` of the
---  error, when it has one)
---@field read_only? boolean it only looks: it is no run of the history, and `show` alone speaks
---@field show? fun(data: any, input: table): string what it found, for people; with it comes
---  --json, which shows the data themselves. Without it `run` prints what there is to say.

---@class dgrun.command.declaration: dgrun.command.action
---@field run? fun(input: table): any, dgrun.err?
---@field actions? table<string, dgrun.command.action|dgrun.pipeline> instead of `run`: dgrun
---  machines stop
---@field default? string the action that is meant when none is named
---@field guard? fun(words: string[], dashes?: integer) sees the words before anything is made of
---  them, and how many stood before a --; raises what must get no further

---@class dgrun.command
---@field description string
---@field actions table<string, dgrun.command.action> by name, one that is a pipeline with it as its
---  `pipeline`; one called "" when it has no actions
---@field names string[] of the actions, the default first
---@field default? string
---@field guard? fun(words: string[], dashes?: integer)
local Command = { __name = "dgrun.command" }
Command.__index = Command

local by = { op = "dg.command", code = "command.invalid" }

local action_spec = { description = "string", arguments = "table?", inputs = "table?",
    rest = "string?", run = "function", show = "function?", read_only = "boolean?" }

local function checked_action(declared, name)
    if type(declared) ~= "table" then
        input_of.refuse(by, "action '%s' must be a table", name)
    elseif pipeline.is(declared) then
        return { name = name, description = declared.description, inputs = declared.inputs,
            arguments = declared.arguments, pipeline = declared }
    end
    check.options(declared, action_spec, name == "" and by.op or ("%s: action '%s'"):format(by.op,
        name))
    local arguments, inputs = input_of.words(by, declared)
    return {
        name = name, description = declared.description, arguments = arguments, inputs = inputs,
        rest = declared.rest, run = declared.run, show = declared.show,
        read_only = declared.read_only,
    }
end

local function with_actions(declaration)
    check.options(declaration, { description = "string", actions = "table", default = "string?",
        guard = "function?" }, by.op)
    local actions, names = {}, {}
    for name, one in pairs(declaration.actions) do
        if type(name) ~= "string" or not name:match("^[a-z][a-z0-9_-]*$") then
            input_of.refuse(by, "an action's name looks like this-1, not %s", tostring(name))
        end
        actions[name] = checked_action(one, name)
        names[#names + 1] = name
    end
    local default = declaration.default
    if default then
        check.known(default, actions, by.op .. ": the default action is unknown:", by.code)
    end
    table.sort(names, function(a, b)
        if (a == default) ~= (b == default) then
            return a == default
        end
        return a < b
    end)
    return { description = declaration.description, actions = actions, names = names,
        default = default, guard = declaration.guard }
end

---Declares a command; the file of a command returns the result.
---@param declaration dgrun.command.declaration
---@return dgrun.command
function M.new(declaration)
    if type(declaration) == "table" and declaration.actions ~= nil then
        return setmetatable(with_actions(declaration), Command)
    end
    return setmetatable({ actions = { [""] = checked_action(declaration, "") }, names = { "" },
        description = declaration.description, default = "" }, Command)
end

---@return boolean
function M.is(value)
    return type(value) == "table" and getmetatable(value) == Command
end

---The action that these arguments name, and the arguments behind its name.
---@param command dgrun.command
---@param arguments string[]
---@param script string for messages
---@return dgrun.command.action
---@return string[] arguments
function M.action(command, arguments, script)
    local word = arguments[1]
    if command.actions[""] then
        return command.actions[""], arguments
    elseif word and command.actions[word] then
        return command.actions[word], { unpack(arguments, 2) }
    elseif command.default and (not word or word:sub(1, 1) == "-"
            or target_of.is_name(word)) then
        return command.actions[command.default], arguments
    end
    if not word then
        err.raise { code = "input.missing",
            hint = ("dgrun help %s describes each of them."):format(script),
            msg = ("dgrun %s needs %s"):format(script, format.list(command.names, "or")) }
    end
    local known = { unpack(command.names) }
    for _, name in ipairs(command.default and environment.names() or {}) do
        known[#known + 1] = name
    end
    local nearest = opt.nearest(word, known)
    err.raise { code = "input.unknown",
        msg = ("dgrun %s has no action '%s'%s"):format(script, word, command.default
            and ", and no environment has that name" or ""),
        hint = nearest and ("Did you mean '%s'?"):format(nearest)
            or ("Known: %s."):format(format.list(known)) }
end

return M
