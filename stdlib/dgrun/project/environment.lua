-- One entry of scripts/environments.yaml: an app, where it lives, its secrets and cron machines.
-- The file is read strictly; its secrets are looked up when a run starts, not before.
local check = require "dgrun.core.check"
local declaration = require "dgrun.project.secret_spec"
local environment_file = require "dgrun.project.environment_file"
local environment_probes = require "dgrun.project.environment_probes"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local path = require "dgrun.core.path"
local run = require "dgrun.run.context"
local secret = require "host.secret"
local source_of = require "dgrun.project.source"
local sources = require "dgrun.project.sources"
local tables = require "dgrun.core.table"
local template_of = require "dgrun.project.environment_template"
local unknown = require "dgrun.core.unknown"

local M = {}

---@class dgrun.environment
---@field name string
---@field app string the Fly app
---@field url? string
---@field config? string its fly.toml, relative to the project
---@field crons dgrun.environment.cron[]
---@field secrets table<string, any> sealed values and literal strings by name; pairs() gives those
---  that are for the app, without the private ones
---@field probes dgrun.environment.probe[] of its site; /health where none are declared
---@field pr? integer number of the pull request, of one that a template gave
---@field org? string the same

---@class dgrun.environment.cron
---@field name string
---@field config string its fly.toml, relative to the project
---@field schedule "hourly"|"daily"|"weekly"|"monthly"
---@field when_running? {wait?: number, then?: "skip"|"fail"|"interrupt"} wait in seconds
---@field optional? boolean it may be missing
---@field create? boolean false: it is only updated
---@field gate? dgrun.cron.condition

-- later: what is wrong with secrets is not raised when they are looked up, but when it matters.
local state = { folder = nil, files = {}, used = {}, names_only = false, later = false }

---@type table<dgrun.environment.cron, dgrun.environment> whose cron machine it is
local owners = setmetatable({}, { __mode = "k" })

---Where to look from: the folder of the script. Forgets what an earlier script asked for.
---@param folder string
---@param opts? {names_only?: boolean} secrets read as unknown, since nothing will run
function M.look_from(folder, opts)
    state.folder, state.files, state.used = folder, {}, {}
    state.names_only, state.later = opts and opts.names_only or false, false
end

---environments.yaml beside the script, else that of the nearest scripts/ upwards.
---@param folder string
---@return string?
function M.find(folder)
    if fs.exists(folder / "environments.yaml") then
        return folder / "environments.yaml"
    end
    local at = check(fs.absolute(folder))
    while true do
        if fs.exists(at / "scripts/environments.yaml") then
            return at / "scripts/environments.yaml"
        elseif at == "/" then
            return nil
        end
        at = path.dirname(at)
    end
end

---@param file string
local function read(file)
    if not state.files[file] then
        state.files[file] = environment_file.read(file)
    end
    return state.files[file]
end

---The apps of all environments of a file, each once; none without a file.
---@param folder string
---@return string[]
function M.apps(folder)
    local apps, seen = {}, {}
    local file = M.find(folder)
    for _, entry in pairs(file and read(file).environments or {}) do
        if not seen[entry.app] then
            apps[#apps + 1], seen[entry.app] = entry.app, true
        end
    end
    table.sort(apps)
    return apps
end

local function kinds_of(declared)
    local kinds = {}
    for _, source in ipairs(declared.sources) do
        kinds[source.kind] = true
    end
    return kinds
end

---Takes the secrets that a project declares out of the process's environment: no child inherits
---them, also none that is started before a script asks for an environment. A file that cannot be
---read is told when it is used.
---@param folder string
function M.seal(folder)
    local file = M.find(folder)
    local ok, known = pcall(read, file or "")
    local all = {}
    for _, entries in ipairs(file and ok and { known.environments, known.templates } or {}) do
        for _, entry in pairs(entries) do
            all[#all + 1] = entry.secrets
            -- What is no secret must be known before one is sealed.
            sources.publish(entry.secrets)
        end
    end
    for _, declared in ipairs(all) do
        local kinds = kinds_of(declared)
        if kinds.age then
            source_of.age_key()
        end
        for _, list in ipairs(kinds.env
            and { declared.required, declared.optional, declared.private } or {}) do
            for _, name in ipairs(list) do
                secret.from_env(name)
            end
        end
    end
end

local function fill(env, values)
    for name, value in pairs(values) do
        rawset(env.secrets, name, value)
    end
end

---Looks up the secrets of these environments, each once.
---@param list dgrun.environment[]
---@return dgrun.err? # all that is wrong with them
local function look_up(list)
    local troubles = {}
    for _, env in ipairs(list) do
        local entry = getmetatable(env).entry
        if not entry.resolved and not entry.trouble then
            local values
            values, entry.trouble = sources.look_up(entry)
            if values then
                entry.resolved = true
                fill(env, values)
            end
        end
        troubles[#troubles + 1] = entry.trouble
    end
    return #troubles > 0 and sources.error(troubles) or nil
end

---The same, and raises what is wrong.
---@param list dgrun.environment[]
local function resolve(list)
    local e = look_up(list)
    if e then
        err.raise(e)
    end
end

---The secrets of an environment, looked up if they were not; other tables as they are. For those
---who go through all of them.
---@param secrets table<string, any>
---@return table<string, any>
function M.complete(secrets)
    local env = (getmetatable(secrets) or {}).environment
    if env and not state.names_only then
        resolve { env }
    end
    return secrets
end

---The environment that declares a cron machine; nil for one that was declared in Lua.
---@param cron table
---@return dgrun.environment?
function M.of_cron(cron)
    return owners[cron]
end

---What a program of the application finds in its environment: the secrets of an environment and
---its literal values, without the private ones.
---@param env dgrun.environment
---@return table<string, string|host.secret.value>
function M.variables(env)
    return tables.merged(M.complete(env.secrets))
end

---The secrets of all environments the script asked for, before its first effect.
---@param opts? {later?: boolean} later: what is wrong with them, also with those of environments
---  that are asked for from here on, is not raised before one of them is used; `problem` tells it
function M.resolve_all(opts)
    state.later = opts and opts.later or false
    if state.later then
        look_up(state.used)
    else
        resolve(state.used)
    end
end

---All that is wrong with the secrets of the environments the script asked for, and with those of
---this one.
---@param env? dgrun.environment
---@return dgrun.err?
function M.problem(env)
    local list = { unpack(state.used) }
    for _, used in ipairs(state.used) do
        env = used ~= env and env or nil
    end
    list[#list + 1] = env
    return look_up(list)
end

---The environments the script asked for.
---@return dgrun.environment[]
function M.used()
    return state.used
end

---How an environment declares each of its secrets; nil for other tables.
---@param secrets table<string, any>
---@return table<string, "required"|"optional"|"literal">?
---@return table<string, dgrun.secrets.rule[]>? rules by name
function M.declared(secrets)
    local env = (getmetatable(secrets) or {}).environment
    local declared = env and getmetatable(env).entry.secrets
    if not declared then
        return nil
    end
    local how = {}
    for _, word in ipairs { "required", "optional" } do
        for _, name in ipairs(declared[word]) do
            how[name] = word
        end
    end
    for name in pairs(declared.literal) do
        how[name] = "literal"
    end
    return how, declared.rules
end

local function new_secrets(env, entry)
    local declared = {}
    for _, name in ipairs(declaration.names(entry.secrets)) do
        declared[name] = true
    end
    return setmetatable({}, {
        environment = env,
        __index = function(_, name)
            check.known(name, declared,
                ("environment '%s' declares no secret"):format(entry.name), "secrets.undeclared")
            local private = sources.is_private(entry, name)
            if state.names_only then
                return unknown.new(name)
            elseif private then
                return sources.private(entry, name)
            elseif not entry.resolved then
                resolve { env }
                return rawget(env.secrets, name)
            end
        end,
        __newindex = function(_, name)
            err.raise {
                code = "input.invalid",
                msg = ("an environment's secrets are read-only: %s")
                    :format(tostring(name)),
            }
        end,
    })
end

local fields = { name = true, app = true, url = true, config = true, crons = true, secrets = true,
    pr = true, org = true, probes = true, migrations = true,
    sandbox = true }

---The names of all environments of the file that is looked at, sorted; none without a file.
---@return string[]
function M.names()
    local file, names = M.find(state.folder or "."), {}
    for name in pairs(file and read(file).environments or {}) do
        names[#names + 1] = name
    end
    table.sort(names)
    return names
end

local function read_for(what)
    local folder = state.folder or "."
    local file = M.find(folder)
    if not file then
        err.raise { code = "environment.not_found",
            msg = ("%s: no environments.yaml in %s or in a scripts/ folder above it"):format(what,
                folder),
            hint = "environments.yaml declares the app and the secrets of each environment." }
    end
    return read(file), file
end

---@param entry table of the file, with name, root and file
---@param opts? {lazy?: boolean}
---@return dgrun.environment
local function new(entry, opts)
    local env = {
        name = entry.name, app = entry.app, url = entry.url, config = entry.config,
        crons = entry.crons, pr = entry.pr, org = entry.org, migrations = entry.migrations,
        sandbox = entry.sandbox,
        probes = environment_probes.of(entry),
    }
    env.secrets = new_secrets(env, entry)
    for _, cron in ipairs(env.crons) do
        owners[cron] = env
    end
    setmetatable(env, {
        entry = entry,
        __index = function(_, key)
            check.known(key, fields, "an environment has no field",
                "input.unknown_name")
        end,
    })
    if opts and opts.lazy then
        return env
    end
    table.insert(state.used, env)
    if run.current() and not state.names_only then
        local wrong = look_up { env }
        if wrong and not state.later then
            err.raise(wrong)
        end
    end
    return env
end

---@param name string "prod"
---@param opts? {lazy?: boolean} lazy: its secrets are looked up when the first of them is used
---@return dgrun.environment
function M.get(name, opts)
    local known, file = read_for(("environment '%s'"):format(tostring(name)))
    check.known(name, known.environments, file .. " has no environment",
        "environment.unknown")
    local entry = tables.merged(known.environments[name])
    entry.name, entry.root, entry.file = name, known.root, file
    return new(entry, opts)
end

---An entry below `templates`.
---@param name string "review"
---@return table entry as it was read
---@return string root
---@return string file
function M.template(name)
    local known, file = read_for(("template '%s'"):format(tostring(name)))
    check.known(name, known.templates, file .. " has no template",
        "environment.unknown")
    return known.templates[name], known.root, file
end

---The environment of a pull request.
---@param name string of the template
---@param pr integer
---@param opts? {lazy?: boolean} as of get
---@return dgrun.environment
function M.of_template(name, pr, opts)
    local template, root, file = M.template(name)
    local entry = template_of.fill(name, template, pr)
    entry.name, entry.root, entry.file = ("%s %d"):format(name, pr), root, file
    return new(entry, opts)
end

---The environment of a review app, by the template whose pattern its name fits; nil if none does.
---@param app string
---@return dgrun.environment?
function M.of_review_app(app)
    local file = M.find(state.folder or ".")
    for name, template in pairs(file and read(file).templates or {}) do
        local pr = template_of.number(template.app, app)
        if pr then
            return M.of_template(name, pr, { lazy = true })
        end
    end
end

---Masks what an environment's machines may say of its secrets, for those who never ask for one of
---them: what is in the process's environment is sealed already, what is in a file is read. Programs
---are not asked; dgrun.secrets.mask asks them.
---@param env dgrun.environment
function M.mask(env)
    local entry = M.entry(env)
    sources.publish(entry.secrets)
    for _, source in ipairs(entry.secrets.sources) do
        if source.kind == "dotenv" then
            source_of.open(source, { root = entry.root, names = {} })
        end
    end
end

---What an environment was made of.
---@param env dgrun.environment
---@return table
function M.entry(env)
    local metatable = type(env) == "table" and getmetatable(env)
    return metatable and metatable.entry or err.raise { code = "input.invalid",
        msg = "not an environment: dg.environment and dg.review.environment return one" }
end

return M
