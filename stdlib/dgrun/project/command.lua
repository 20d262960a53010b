-- What the file of a command returns: an operation for people, such as `dgrun machines stop prod`.
-- Unlike a pipeline it has no steps and takes no group; it may show what it found. An action may be
-- a pipeline, and is run as one.
local check = require "dgrun.core.check"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local input_of = require "dgrun.project.input"
local opt = require "host.opt"
local place_of = require "dgrun.project.target"

local M = {}

---@class dgrun.command.argument: dgrun.input
---@field name string
---@field complete? string|fun(input: table): string[] "place" for an environment or an app: `run`
---  gets a dgrun.place (or a list of them), and the command gets --app too, for other apps

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

---@param who? dgrun.input.declarer dg.command
local function checked_arguments(declared, who)
    local arguments = {}
    for i, one in ipairs(declared or {}) do
        if type(one) ~= "table" then
            input_of.refuse(who, "argument %d must be a table such as { name = \"where\" }", i)
        end
        local copy = {}
        for key, value in pairs(one) do
            copy[key] = value
        end
        copy.name = nil
        local argument = input_of.checked(who, one.name, copy)
        argument.positional = true
        if argument.short or argument.type == "boolean" then
            input_of.refuse(who, "argument '%s' is positional: it cannot have a short form or be "
                .. "a boolean", one.name)
        elseif argument.many and declared[i + 1] then
            input_of.refuse(who, "argument '%s' takes several words, so it must be the last "
                .. "one", one.name)
        end
        arguments[i] = argument
    end
    return arguments
end

local function has_place(arguments)
    for _, argument in ipairs(arguments) do
        if argument.complete == "place" then
            return true
        end
    end
    return false
end

---The declared inputs, and those that come by themselves.
local function all_inputs(action, arguments)
    local inputs = {}
    for name, one in pairs(action.inputs or {}) do
        inputs[name] = one
    end
    if action.show and not inputs.json then
        inputs.json = { type = "boolean", help = "print JSON" }
    end
    if has_place(arguments) and not inputs.app then
        inputs.app = { help = "an app; it need not belong to an environment", complete = "app" }
    end
    return inputs
end

---The plain words and the inputs of a pipeline, or of an action.
---@param who dgrun.input.declarer
---@param declared dgrun.pipeline.declaration|dgrun.command.action
---@return dgrun.input[] arguments
---@return dgrun.input[] inputs
function M.words(who, declared)
    local arguments = checked_arguments(declared.arguments, who)
    local inputs = input_of.list(who, all_inputs(declared, arguments))
    local seen = {}
    for _, list in ipairs { arguments, inputs, { declared.rest and { name = declared.rest } } } do
        for _, one in ipairs(list) do
            if seen[one.name] then
                input_of.refuse(who, "'%s' is declared twice", one.name)
            end
            seen[one.name] = true
        end
    end
    return arguments, inputs
end

local function checked_action(declared, name)
    if type(declared) ~= "table" then
        input_of.refuse(by, "action '%s' must be a table", name)
    elseif require("dgrun.project.pipeline").is(declared) then
        return { name = name, description = declared.description, inputs = declared.inputs,
            arguments = declared.arguments, pipeline = declared }
    end
    check.options(declared, action_spec, name == "" and by.op or ("%s: action '%s'"):format(by.op,
        name))
    local arguments, inputs = M.words(by, declared)
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
            or place_of.is_name(word)) then
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
