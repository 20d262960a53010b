-- Reads environments.yaml.
local check = require "dgrun.core.check"
local declaration = require "dgrun.project.secret_spec"
local environment_probes = require "dgrun.project.environment_probes"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local path = require "dgrun.core.path"
local reader = require "dgrun.core.yaml"
local schedule = require "dgrun.core.schedule"
local template_of = require "dgrun.project.environment_template"

local M = {}

local below, named = reader.below, reader.named

local cron_keys = { name = true, config = true, schedule = true, when_running = true,
    optional = true, create = true, gate = true }

---Names become parts of addresses, commands and files.
local function read_name(r, value, keys, what)
    r:string(value, keys)
    if value and not (value:match "^[%w][%w._-]*$" and #value <= 63) then
        r:refuse(keys, ("%s: '%s' is not a valid %s"):format(named(keys), value, what),
            "Names contain letters, digits, '.', '_', and '-', and have at most 63 characters.")
    end
    return value
end

local function read_schedule(r, value, keys)
    r:string(value, keys)
    if not schedule.is(value) then
        r:refuse(keys, ("%s must be %s"):format(named(keys), schedule.misfit(value)),
            schedule.explain(value))
    end
    return value
end

---@class dgrun.cron.condition what has to be so before a cron machine is created
---@field command? string[] run in the checkout with the environment's secrets: it must end with 0
---@field input? string a boolean input of the pipeline that must be true

local function read_gate(r, value, keys)
    if value == nil then
        return nil
    end
    r:map(value, keys, { command = true, input = true })
    if value.command == nil and value.input == nil then
        r:refuse(keys, named(keys) .. " needs a command, an input, or both")
    end
    return { command = r:words(value.command, below(keys, "command")),
        input = r:string(value.input, below(keys, "input")) }
end

local function read_cron(r, value, keys)
    r:map(value, keys, cron_keys, { "name", "config", "schedule" })
    local out = {
        create = r:boolean(value.create, below(keys, "create")),
        gate = read_gate(r, value.gate, below(keys, "gate")),
        name = read_name(r, value.name, below(keys, "name"), "name of a cron machine"),
        config = r:string(value.config, below(keys, "config")),
        schedule = read_schedule(r, value.schedule, below(keys, "schedule")),
        optional = r:boolean(value.optional, below(keys, "optional")),
    }
    if value.when_running == nil then
        return out
    end
    local at = below(keys, "when_running")
    r:map(value.when_running, at, { wait = true, ["then"] = true })
    local wait = value.when_running.wait
    local seconds = wait ~= nil and format.seconds(wait) or nil
    if wait ~= nil and not seconds then
        r:refuse(below(at, "wait"), ("%s.wait must be a duration such as 30m"):format(named(at)))
    end
    out.when_running = {
        wait = seconds,
        ["then"] = r:one_of(value.when_running["then"], below(at, "then"),
            { "skip", "fail", "interrupt" }),
    }
    return out
end

---@class dgrun.environment.migrations
---@field dir string folder of the checkout that has alembic.ini, "."
---@field target? string what an upgrade goes to: "head" when absent, "heads", a branch, a revision
---@field command? string[] migrates instead of Alembic
---@field env table<string, string> variables beside the environment's secrets
---@field before_destructive? {command: string[]} runs before an upgrade that loses data

local migration_keys = { dir = true, target = true, command = true, env = true,
    before_destructive = true }

---@return dgrun.environment.migrations
local function read_migrations(r, value, keys)
    local out = { dir = ".", env = {} }
    if value == nil then
        return out
    end
    r:map(value, keys, migration_keys)
    out.dir = r:string(value.dir, below(keys, "dir")) or "."
    if out.dir:sub(1, 1) == "/" or ("/" .. out.dir .. "/"):find("/../", 1, true) then
        r:refuse(below(keys, "dir"), named(keys) .. ".dir must be a folder in the repository")
    end
    out.target = r:string(value.target, below(keys, "target"))
    out.command = r:words(value.command, below(keys, "command"))
    for name, text in pairs(r:map(value.env or {}, below(keys, "env"))) do
        r:secret_name(name, below(keys, "env"))
        out.env[name] = r:string(text, below(below(keys, "env"), name))
    end
    if value.before_destructive ~= nil then
        local at = below(keys, "before_destructive")
        r:map(value.before_destructive, at, { command = true }, { "command" })
        out.before_destructive = {
            command = r:words(value.before_destructive.command, below(at, "command")),
        }
    end
    return out
end

---@class dgrun.environment.sandbox how the local Fly runs the environment's images
---@field simulate? boolean the image's program does not run: machines start, and checks pass
---@field python? string folder of a virtual environment, or an interpreter in one; relative to the
---  folder that holds scripts/

---@return dgrun.environment.sandbox
local function read_sandbox(r, value, keys)
    if value == nil then
        return {}
    end
    r:map(value, keys, { simulate = true, python = true })
    if value.simulate == true and value.python ~= nil then
        r:refuse(below(keys, "python"), named(keys) .. ": a simulated image has no python")
    end
    return { simulate = r:boolean(value.simulate, below(keys, "simulate")),
        python = r:string(value.python, below(keys, "python")) }
end

local environment_keys = { app = true, url = true, config = true, secrets = true, crons = true,
    probes = true, migrations = true, sandbox = true }

---@param known table<string, true> keys
local function read_environment(r, value, keys, known)
    r:map(value, keys, known, { "app" })
    local out = { crons = {} }
    for _, key in ipairs { "app", "url", "config" } do
        out[key] = r:string(value[key], below(keys, key))
    end
    out.secrets = declaration.read(r, value.secrets, below(keys, "secrets"))
    out.migrations = read_migrations(r, value.migrations, below(keys, "migrations"))
    out.sandbox = read_sandbox(r, value.sandbox, below(keys, "sandbox"))
    local seen = {}
    for i, cron in ipairs(r:list(value.crons, below(keys, "crons"))) do
        local at = below(below(keys, "crons"), i)
        out.crons[i] = read_cron(r, cron, at)
        if seen[out.crons[i].name] then
            r:refuse(below(at, "name"), ("%s: another cron machine is named '%s'"):format(
                named(at), out.crons[i].name), "dgrun finds machines by name.")
        end
        seen[out.crons[i].name] = true
    end
    out.probes = environment_probes.read(r, value, keys)
    return out
end

---An entry below `environments` is an app; one below `templates` a pattern for many.
local function read_app(r, value, keys)
    local out = read_environment(r, value, keys, environment_keys)
    if out.app:find("[{}]") then
        r:refuse(below(keys, "app"), ("%s.app must be the name of one app, not a pattern"):format(
            named(keys)), "Declare environments for pull requests under the key templates.")
    elseif not (out.app:match "^[a-z0-9][a-z0-9-]*$" and #out.app <= 63) then
        r:refuse(below(keys, "app"), ("%s.app: '%s' is not a valid app name"):format(named(keys),
            out.app), "App names contain a-z, 0-9, and -, and have at most 63 characters.")
    end
    return out
end

---@param file string
---@return {environments: table<string, table>, templates: table<string, table>, root: string}
---  root: the folder that holds scripts/
function M.read(file)
    local text = check(fs.read(file, { limit = 1024 * 1024 }))
    local value, r = reader.read(file, text)
    r:map(value, {}, { environments = true, templates = true }, { "environments" })
    if not reader.is_map(value.environments) then
        r:refuse({ "environments" }, "environments must map names to environments")
    end
    local environments = {}
    for name, entry in pairs(value.environments) do
        read_name(r, name, { "environments", name }, "name of an environment")
        environments[name] = read_app(r, entry, { "environments", name })
    end
    for name in pairs(reader.is_map(value.templates) and value.templates or {}) do
        read_name(r, name, { "templates", name }, "name of a template")
    end
    local templates = template_of.read(r, value.templates or {},
        environments, environment_keys, read_environment)
    local folder = check(fs.absolute(path.dirname(file)))
    local root = path.basename(folder) == "scripts" and path.dirname(folder) or folder
    return { environments = environments, templates = templates, root = root }
end

return M
