-- Completions of an argument, by its kind. Values that only Fly knows are requested with a short
-- timeout; without a response there are no completions.
local command_words = require "dgrun.cli.words"
local environment = require "dgrun.project.environment"
local execute = require "dgrun.cli.execute"
local history = require "dgrun.run.history"
local machine_actions = require "dgrun.fly.machine_actions"
local target_of = require "dgrun.project.target"
local releases = require "dgrun.fly.releases"
local scripts = require "dgrun.cli.scripts"
local secrets = require "dgrun.secrets"
local shipped = require "dgrun.cli.shipped"
local task = require "dgrun.core.task"

local M = {}

local PATIENCE_SECONDS = 3
local RUNS = 20

local function values(names, text)
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
    return values(environment.apps("."))
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

---@param input dgrun.input
---@param given table<string, any> the values on the line so far
---@return dgrun.cli.candidate[]
function M.of(input, given)
    if input.choices then
        return values(input.choices)
    elseif type(input.complete) == "function" then
        return values(input.complete(given))
    end
    local kind = kinds[input.complete or ""]
    return kind and kind(given) or {}
end

---@return dgrun.cli.candidate[]
function M.scripts()
    local list, seen = {}, {}
    local root = scripts.project(".")
    for _, names in ipairs { root and scripts.names(root) or {},
        shipped.names() } do
        for _, name in ipairs(names) do
            if not seen[name] then
                seen[name] = true
                list[#list + 1] = { value = name }
            end
        end
    end
    return list
end

---@return dgrun.cli.candidate[]
function M.words()
    local list = M.scripts()
    for name in pairs(command_words.commands) do
        list[#list + 1] = name ~= "complete" and { value = name } or nil
    end
    table.sort(list, function(a, b) return a.value < b.value end)
    return list
end

---@return dgrun.cli.candidate[]
function M.options()
    return values { "--sandbox", "--trace", "--help", "--version", "-C", "-e" }
end

---Completions of the argument of a built-in command.
---@param word string
---@param rest string[]
---@return dgrun.cli.candidate[]
function M.of_word(word, rest)
    if word == "completion" then
        return values { "bash", "fish", "zsh" }
    elseif word == "show" or word == "resume" then
        return kinds.run()
    elseif word == "lock" then
        return #rest == 0 and values { "hold", "list", "release" } or kinds.app()
    end
    return {}
end

---Calls `f` with a short timeout, because someone has just pressed a key; against the local Fly if
---the line has --sandbox.
---@param line dgrun.cli.arguments
---@param f fun(): dgrun.cli.candidate[]
---@return dgrun.cli.candidate[]
function M.within(line, f)
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

return M
