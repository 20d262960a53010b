-- The inputs of a pipeline or a command on the command line: --ref v1, --ref=v1, --allow-older,
-- --no-allow-older, -f; an underscore may be written as a dash; positional arguments if the
-- command takes any. All problems are reported together.
local builtins = require "dgrun.cli.builtins"
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local input_of = require "dgrun.project.input"
local opt = require "host.opt"
local tables = require "dgrun.core.table"

local M = {}

---@class dgrun.cli.face a pipeline, or an action of a command
---@field inputs dgrun.input[]
---@field arguments? dgrun.input[] positional arguments, in order
---@field rest? string the name of the arguments after --

---@param name string
---@return string # as typed: "--allow-older"
function M.flag(name)
    return "--" .. name:gsub("_", "-")
end

---The name of an input in messages: "--ref", or "WHERE" for a positional argument.
---@param input dgrun.input
---@return string
function M.called(input)
    return input.positional and input.name:upper() or M.flag(input.name)
end

local words = { ["true"] = true, yes = true, on = true, ["1"] = true,
    ["false"] = false, no = false, off = false, ["0"] = false }

local function parsed(input, text)
    if input.type == "boolean" then
        return words[text:lower()]
    elseif input.type == "integer" then
        return text:match("^[+-]?%d+$") and tonumber(text) or nil
    elseif input.type == "seconds" then
        return format.seconds(text)
    end
    return text
end

---@class dgrun.cli.reading
---@field face dgrun.cli.face
---@field values table<string, any>
---@field problems {code: string, msg: string, hint?: string}[]
local Reading = {}
Reading.__index = Reading

function Reading:problem(code, msg, hint)
    table.insert(self.problems, { code = "input." .. code, msg = msg, hint = hint })
end

function Reading:unknown(name)
    local known = {}
    for i, input in ipairs(self.face.inputs) do
        known[i] = input.name
    end
    local nearest = opt.nearest(name, known)
    local hint
    if nearest then
        hint = ("Did you mean %s?"):format(M.flag(nearest))
    elseif #known == 0 then
        hint = "It has no inputs."
    else
        for i, other in ipairs(known) do
            known[i] = M.flag(other)
        end
        hint = "Its inputs are " .. format.list(known) .. "."
    end
    self:problem("unknown", ("unknown input %s"):format(M.flag(name)), hint)
end

local function find(inputs, name, key)
    for _, input in ipairs(inputs) do
        if input[key] == name then
            return input
        end
    end
end

---The input that an option names, and false when the option is negated.
local function recognized(inputs, name)
    local input = find(inputs, name, "name")
    if input then
        return input, nil
    end
    local negated = name:match("^no_(.+)$")
    input = negated and find(inputs, negated, "name")
    if input and input.type == "boolean" then
        return input, false
    end
end

---@param text? string the text as typed, for the message
function Reading:set(input, value, text)
    local called = M.called(input)
    if self.values[input.name] ~= nil and not input.many then
        self:problem("invalid", called .. " was given twice")
        return
    end
    local misfit = value == nil and (input_of.misfit(input, nil) or "another value")
        or input_of.misfit(input, value)
    if misfit then
        local nearest = input.choices and opt.nearest(text, input.choices)
        self:problem("invalid", ("%s must be %s, not '%s'"):format(called, misfit, text),
            nearest and ("Did you mean '%s'?"):format(nearest))
        value = text
    end
    if input.many then
        local list = self.values[input.name] or {}
        list[#list + 1] = value
        value = list
    end
    self.values[input.name] = value
end

---Splits an option into the input it names and the text after the =.
function Reading:option(token)
    local letter = token:match("^%-(%a)$")
    if letter then
        return find(self.face.inputs, letter, "short"), nil, nil, letter
    end
    local name, text = token:match("^%-%-([^=]+)=(.*)$")
    name = (name or token:match("^%-%-(.+)$") or ""):gsub("-", "_")
    local input, value = recognized(self.face.inputs, name)
    return input, value, text, name
end

---Reads the option at `at`; returns the position of the last token that belongs to it.
function Reading:read_option(tokens, at)
    local token, following = tokens[at], tokens[at + 1]
    local input, value, text, name = self:option(token)
    if name == "" or not input and token:match("^%-%a$") then
        self:problem("unknown", ("unexpected argument '%s'"):format(token),
            "Write inputs as --name value.")
    elseif not input then
        self:unknown(name)
        -- The next token is most likely its value.
        return not text and following and following:sub(1, 1) ~= "-" and at + 1 or at
    elseif input.type == "boolean" and not text then
        self:set(input, value == nil or value)
    elseif value == false then
        self:problem("invalid", ("%s takes no value"):format(M.flag(name)))
    else
        if not text and following and following:sub(1, 2) ~= "--" then
            text, at = following, at + 1
        end
        if text then
            self:set(input, parsed(input, text), text)
        else
            self.values[input.name] = input.many and self.values[input.name] or ""
            self:problem("invalid", M.flag(input.name) .. " needs a value", following
                and ("If that is the value, write %s=%s."):format(M.flag(input.name), following))
        end
    end
    return at
end

---Assigns the positional arguments in order.
function Reading:assign(plain)
    local arguments, at = self.face.arguments or {}, 1
    for _, argument in ipairs(arguments) do
        if argument.complete == "target" and self.values.app then
            self.values[argument.name] = argument.many and { self.values.app } or self.values.app
        else
            repeat
                if plain[at] then
                    self:set(argument, parsed(argument, plain[at]), plain[at])
                    at = at + 1
                end
            until not argument.many or not plain[at]
        end
    end
    for i = at, #plain do
        self:problem("unknown", ("unexpected argument '%s'"):format(plain[i]),
            self.face.rest and ("Write the %s after --."):format(self.face.rest)
                or #self.face.inputs == 0 and #arguments == 0 and "It takes no arguments."
                or #arguments == 0 and "Write inputs as --name value." or nil)
    end
end

---@param last integer the last token before a --
function Reading:read(tokens, last)
    local plain, at = {}, 1
    while at <= last do
        local token = tokens[at]
        if token:sub(1, 1) == "-" and token ~= "-" then
            at = self:read_option(tokens, at)
        else
            plain[#plain + 1] = token
        end
        at = at + 1
    end
    local rest = self.face.rest
    for i = last + 1, #tokens do
        if rest then
            self.values[rest] = self.values[rest] or {}
            table.insert(self.values[rest], tokens[i])
        else
            plain[#plain + 1] = tokens[i]
        end
    end
    self:assign(plain)
end

function Reading:complete(list)
    for _, input in ipairs(list) do
        if self.values[input.name] == nil then
            self.values[input.name] = input.default
            if input.required then
                self:problem("missing", M.called(input) .. " is required", input.help)
            end
        end
    end
end

local function refuse(script, list)
    if #list == 1 then
        local problem = list[1]
        err.raise { code = problem.code, msg = ("%s: %s"):format(script, problem.msg),
            hint = problem.hint or ("dgrun help %s lists its inputs."):format(script) }
    end
    local lines = {}
    for i, problem in ipairs(list) do
        lines[i] = "  " .. problem.msg .. (problem.hint and ". " .. problem.hint or "")
    end
    err.raise {
        code = "input.invalid",
        msg = ("%s: %d invalid inputs\n%s"):format(script, #list, table.concat(lines, "\n")),
        hint = ("dgrun help %s lists its inputs."):format(script),
    }
end

---The inputs of a run from its arguments; raises input.* with all problems.
---@param face dgrun.cli.face
---@param tokens string[]
---@param script string its name, for messages
---@param dashes? integer number of tokens before a --, default: all
---@return table<string, any>
function M.parse(face, tokens, script, dashes)
    local self = setmetatable({ face = face, values = {}, problems = {} }, Reading)
    self:read(tokens, dashes or #tokens)
    self:complete(face.arguments or {})
    self:complete(face.inputs)
    if #self.problems > 0 then
        refuse(script, self.problems)
    end
    return self.values
end

---A built-in command with checked arguments and inputs, in the form of a `dg.command`.
---@param word string
---@return dgrun.command
function M.builtin(word)
    local declared = builtins.commands[word]
    local by = { op = "dgrun " .. word, code = "command.invalid" }
    local actions = {}
    for name, action in pairs(declared.actions or { [""] = declared }) do
        local arguments, inputs = input_of.words(by, action)
        actions[name] = { name = name, description = action.description, arguments = arguments,
            inputs = inputs, usage = action.usage, run = action.run }
    end
    return { description = declared.description, details = declared.details, actions = actions,
        names = tables.keys(actions) }
end

---The action and the inputs of a built-in command.
---@param word string
---@param line dgrun.cli.arguments
---@return dgrun.command.action
---@return table<string, any>
function M.read_builtin(word, line)
    local command, rest, dashes = M.builtin(word), line.rest, line.dashes
    if command.actions[""] then
        return command.actions[""], M.parse(command.actions[""], rest, word, dashes)
    elseif not rest[1] then
        err.raise { code = "input.missing",
            msg = ("dgrun %s needs %s"):format(word, format.list(command.names, "or")),
            hint = ("dgrun help %s describes each of them."):format(word) }
    end
    check.known(rest[1], command.actions, ("dgrun %s has no action"):format(word),
        "input.unknown")
    return command.actions[rest[1]], M.parse(command.actions[rest[1]], { unpack(rest, 2) },
        word .. " " .. rest[1], dashes and math.max(0, dashes - 1))
end

return M
