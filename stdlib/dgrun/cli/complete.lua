-- dgrun complete -- WORD…: completions of the last word, one per line: the candidate, a tab, and a
-- description. Called by the scripts of `dgrun completion`; errors are not reported.
-- Values that only Fly knows are requested with a short timeout; without a response there are no
-- completions.
local arguments_of = require "dgrun.cli.arguments"
local builtins = require "dgrun.cli.builtins"
local command_of = require "dgrun.project.command"
local environment = require "dgrun.project.environment"
local execute = require "dgrun.cli.execute"
local fs = require "host.fs"
local gate = require "host.gate"
local history = require "dgrun.run.history"
local inputs = require "dgrun.cli.inputs"
local log = require "host.log"
local machine_actions = require "dgrun.fly.machine_actions"
local pipeline = require "dgrun.project.pipeline"
local releases = require "dgrun.fly.releases"
local scripts = require "dgrun.cli.scripts"
local secrets = require "dgrun.secrets"
local target_of = require "dgrun.project.target"
local task = require "dgrun.core.task"

local M = {}

---@class dgrun.cli.candidate
---@field value string
---@field text? string description

local PATIENCE_SECONDS = 3
local RUNS = 20

local function candidates(names, text)
    local list = {}
    for i, name in ipairs(names) do
        list[i] = { value = name, text = text }
    end
    return list
end

local function app_of(input)
    local where = input.app or input.where
    where = type(where) == "table" and where[1] or where
    return target_of.find(where).app
end

---By kind: each function gets the values on the line so far.
---@type table<string, fun(input: table): dgrun.cli.candidate[]>
local kinds = {}

function kinds.target()
    local list = {}
    for i, name in ipairs(environment.names()) do
        list[i] = { value = name, text = environment.get(name, { lazy = true }).app }
    end
    return list
end
kinds.environment = kinds.target

function kinds.app()
    return candidates(environment.apps("."))
end

---Ids, described by name and state, and names.
function kinds.machine(input)
    local list = {}
    for _, machine in ipairs(machine_actions.list { app = app_of(input) }) do
        list[#list + 1] = { value = machine.id,
            text = ("%s, %s"):format(machine.name or "?", machine.state) }
        list[#list + 1] = machine.name and { value = machine.name, text = machine.state } or nil
    end
    return list
end

function kinds.secret(input)
    local target = target_of.of_app(app_of(input))
    local list = {}
    for i, secret in ipairs(secrets.overview { app = target.app,
        secrets = target.environment and target.environment.secrets }.secrets) do
        list[i] = { value = secret.name, text = (secret.declared or "not declared")
            .. (secret.present and "" or ", not set") }
    end
    return list
end

function kinds.release(input)
    local list = {}
    for i, release in ipairs(releases.list(app_of(input))) do
        list[i] = { value = tostring(release.version), text = release.status }
    end
    return list
end

function kinds.run()
    local list = {}
    for i, row in ipairs(history.with(scripts.root(), {}, function(store)
        return history.list(store, { limit = RUNS })
    end)) do
        list[i] = { value = row.id, text = ("%s, %s"):format(row.name, row.status) }
    end
    return list
end

---@return dgrun.cli.candidate[]
local function script_names()
    local list, seen = {}, {}
    local root = scripts.project(".")
    for _, names in ipairs { root and scripts.names(root) or {}, scripts.shipped() } do
        for _, name in ipairs(names) do
            if not seen[name] then
                seen[name] = true
                list[#list + 1] = { value = name }
            end
        end
    end
    return list
end

---@param input dgrun.input
---@param given table<string, any> the values on the line so far
---@return dgrun.cli.candidate[]
local function of_input(input, given)
    if input.choices then
        return candidates(input.choices)
    elseif type(input.complete) == "function" then
        return candidates(input.complete(given))
    end
    local kind = kinds[input.complete or ""]
    return kind and kind(given) or {}
end

---The scripts and the built-in commands.
local function first_words()
    local list = script_names()
    for word, command in pairs(builtins.commands) do
        list[#list + 1] = not command.hidden and { value = word } or nil
    end
    table.sort(list, function(a, b) return a.value < b.value end)
    return list
end

local function own_options()
    local list = {}
    for i, option in ipairs(arguments_of.options) do
        list[i] = { value = option.flag, text = option.help }
    end
    return list
end

---Calls `f` with a short timeout, because someone has just pressed a key; against the local Fly if
---the line has --sandbox.
---@param line dgrun.cli.arguments
---@param f fun(): dgrun.cli.candidate[]
---@return dgrun.cli.candidate[]
local function within(line, f)
    return task.timeout(PATIENCE_SECONDS, function()
        environment.look_from((scripts.project(".") or ".") / "scripts", { names_only = true })
        if line.sandbox then
            local root = scripts.root()
            execute.use_sandbox({ root = root, folder = root / "scripts" },
                true)
        end
        return f()
    end)
end

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
        return of_input(input, values)
    end
    local flag = begun:match("^(%-%-[^=]+)=")
    input = flag and find_input(face, flag)
    if input then
        local list = of_input(input, values)
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
    return argument and of_input(argument, values) or {}
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
        return starts(begun, "-") and own_options() or first_words()
    elseif word == "plan" or word == "help" then
        local script = line.rest[1]
        return script and of_script(script, { unpack(line.rest, 2) }, begun, behind)
            or script_names()
    elseif builtins.commands[word] then
        return of_command(inputs.builtin(word), line.rest, begun, behind)
    end
    return of_script(word, line.rest, begun, behind)
end

---Parses the line up to the word to complete. Errors are ignored.
local function parsed(words)
    local ok, line = pcall(arguments_of.parse, words)
    return ok and line or { rest = {} }
end

---@param _ table
---@param own_line dgrun.cli.arguments
function M.run(_, own_line)
    local words = own_line.rest
    local begun = table.remove(words) or ""
    gate.close()
    local line = parsed(words)
    if line.directory then
        fs.chdir(line.directory)
    end
    local ok, list = pcall(within, line, function()
        return of_line(line, begun)
    end)
    for _, one in ipairs(ok and list or {}) do
        if starts(one.value, begun) then
            log.out(log.clean(one.value .. (one.text and "\t" .. one.text:gsub("%s+", " ") or ""))
                .. "\n")
        end
    end
end

return M
