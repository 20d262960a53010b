-- dgrun complete -- WORD…: completions of the last word, one per line: the candidate, a tab, and a
-- description. Called by the scripts of `dgrun completion`; errors are not reported.
local arguments_of = require "dgrun.cli.arguments"
local candidates = require "dgrun.cli.completions"
local command_of = require "dgrun.project.command"
local fs = require "host.fs"
local gate = require "host.gate"
local inputs = require "dgrun.cli.inputs"
local log = require "host.log"
local pipeline = require "dgrun.project.pipeline"
local scripts = require "dgrun.cli.scripts"
local command_words = require "dgrun.cli.words"

local M = {}

---@class dgrun.cli.candidate
---@field value string
---@field text? string description

local function starts(text, prefix)
    return text:sub(1, #prefix) == prefix
end

local function find_input(face, token)
    for _, input in ipairs(face.inputs) do
        if inputs.flag(input.name) == token or input.short and "-" .. input.short == token then
            return input
        end
    end
end

---The inputs on the line so far, as far as they can be parsed: values by name, and the number of
---positional arguments.
local function understood(face, words)
    local values, plain, at = {}, {}, 1
    while words[at] do
        local word = words[at]
        local name, text = word:match("^(%-%-[^=]+)=(.*)$")
        local input = find_input(face, name or word)
        if input and input.type ~= "boolean" then
            values[input.name] = text or words[at + 1]
            at = at + (text and 0 or 1)
        elseif not starts(word, "-") then
            plain[#plain + 1] = word
        end
        at = at + 1
    end
    for i, argument in ipairs(face.arguments or {}) do
        if argument.complete == "target" and values.app then
            table.insert(plain, i, values.app)
        end
        values[argument.name] = argument.many and { unpack(plain, i) } or plain[i]
    end
    return values, #plain
end

local function argument_at(face, count)
    local list = face.arguments or {}
    local last = list[#list]
    return list[count + 1] or last and last.many and last or nil
end

local function of_face(face, words, begun)
    local before = words[#words]
    local values, count = understood(face, words)
    local input = before and find_input(face, before)
    if input and input.type ~= "boolean" then
        return candidates.of(input, values)
    end
    local flag = begun:match("^(%-%-[^=]+)=")
    input = flag and find_input(face, flag)
    if input then
        local list = candidates.of(input, values)
        for _, one in ipairs(list) do
            one.value = flag .. "=" .. one.value
        end
        return list
    elseif starts(begun, "-") then
        local list = {}
        for i, one in ipairs(face.inputs) do
            list[i] = { value = inputs.flag(one.type == "boolean" and one.default
                and "no_" .. one.name or one.name), text = one.help }
        end
        return list
    end
    local argument = argument_at(face, count)
    return argument and candidates.of(argument, values) or {}
end

---@param behind boolean whether the word is after a --
local function of_command(command, words, begun, behind)
    local action = command.actions[""] or words[1] and command.actions[words[1]]
    if action and action.rest and behind then
        return {} -- another command, which the shell completes
    elseif action then
        return of_face(action, action.name == "" and words or { unpack(words, 2) }, begun)
    end
    local list = {}
    if #words == 0 and not starts(begun, "-") then
        for i, name in ipairs(command.names) do
            list[i] = { value = name, text = command.actions[name].description }
        end
    end
    for _, one in ipairs(command.default and of_face(command.actions[command.default], words, begun)
        or {}) do
        list[#list + 1] = one
    end
    return list
end

local function of_script(word, words, begun, behind)
    local script = scripts.find(word)
    scripts.load(script)
    if not scripts.declares(script) then
        return {}
    end
    local value = scripts.declaration(script, { names_only = true })
    -- The declaration has been read; from here on, calls may wait.
    if command_of.is(value) then
        return of_command(value, words, begun, behind)
    end
    return pipeline.is(value) and of_face(value, words, begun) or {}
end

local function of_line(line, begun)
    local word, behind = line.word, line.dashes ~= nil
    if not word then
        return starts(begun, "-") and candidates.options() or candidates.words()
    elseif word == "plan" or word == "help" then
        local script = line.rest[1]
        return script and of_script(script, { unpack(line.rest, 2) }, begun, behind)
            or candidates.scripts()
    elseif command_words.commands[word] then
        return candidates.of_word(word, line.rest)
    end
    return of_script(word, line.rest, begun, behind)
end

---Parses the line up to the word to complete. Errors are ignored.
local function parsed(words)
    local ok, line = pcall(arguments_of.parse, words)
    return ok and line or { rest = {} }
end

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local words = arguments.rest
    local begun = table.remove(words) or ""
    gate.close()
    local line = parsed(words)
    if line.directory then
        fs.chdir(line.directory)
    end
    local ok, list = pcall(candidates.within, line, function()
        return of_line(line, begun)
    end)
    for _, one in ipairs(ok and list or {}) do
        if starts(one.value, begun) then
            log.out(log.clean(one.value .. (one.text and "\t" .. one.text:gsub("%s+", " ") or ""))
                .. "\n")
        end
    end
    return 0
end

return M
