-- The options `environment` and `source` of verbs: what they stand for, where an option is not
-- given by itself.
local environment_of = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local path_of = require "dgrun.core.path"
local tables = require "dgrun.core.table"

local M = {}

---@class dgrun.source what dg.git.checkout gives
---@field dir string
---@field commit string

local function check_source(source, op)
    if type(source) ~= "table" or type(source.dir) ~= "string" then
        err.raise { code = "input.invalid", op = op,
            msg = op .. ": option 'source' must be a result of dg.git.checkout" }
    end
end

---A copy of the options without `environment` and `source`, the options they stand for filled in.
---@param opts table
---@param fill table<string, fun(env?: dgrun.environment, source?: dgrun.source): any> by option
---@param op string for messages: "fly.deploy"
---@return table
function M.fill(opts, fill, op)
    if type(opts) ~= "table" or opts.environment == nil and opts.source == nil then
        return opts
    end
    local env, source = opts.environment, opts.source
    if env ~= nil then
        environment_of.entry(env)
    end
    if source ~= nil then
        check_source(source, op)
    end
    local filled = tables.merged(opts)
    filled.environment, filled.source = nil, nil
    for name, value_of in pairs(fill) do
        if filled[name] == nil then
            filled[name] = value_of(env, source)
        end
    end
    return filled
end

---The configuration file of an environment in a checkout.
---@return string?
function M.config(env, source)
    local file = env and env.config
    return file and source and source.dir / file or file
end

---@return string?
function M.app(env) return env and env.app end

---@return dgrun.environment.cron[]?
function M.crons(env) return env and env.crons end

---@return table<string, any>?
function M.secrets(env) return env and env.secrets end

---@return string?
function M.commit(_, source) return source and source.commit end

---@return string?
function M.dir(_, source) return source and source.dir end

---Where Alembic's alembic.ini is.
---@return string?
function M.migrations_dir(env, source)
    local dir = (env and rawget(env, "migrations") or {}).dir or "."
    return source and (dir == "." and source.dir or source.dir / dir)
end

---The database that an environment's application has.
---@return userdata|string?
function M.database(env)
    local is_declared = env and environment_of.declared(env.secrets).DATABASE_URL
    return is_declared and env.secrets.DATABASE_URL or nil
end

---What a program of the application finds in its environment: the secrets, the literal values and
---what `migrations` adds.
---@return table<string, string|host.secret.value>?
function M.variables(env)
    local variables = env and environment_of.variables(env) or {}
    for name, value in pairs(env and M.migrations "env" (env) or {}) do
        variables[name] = value
    end
    return next(variables) and variables or nil
end

---How the local Fly runs the environment's images, with a path of its Python that holds everywhere;
---nil where nothing is declared.
---@return dgrun.environment.sandbox?
function M.sandbox(env)
    local declared = env and rawget(env, "sandbox") or {}
    local python = declared.python
    if python and python:sub(1, 1) ~= "/" then
        python = path_of.join(environment_of.entry(env).root, python)
    end
    return (declared.simulate or python) and { simulate = declared.simulate, python = python }
        or nil
end

---What `migrations` of an environment declares.
---@param name string
---@return fun(env?: dgrun.environment): any
function M.migrations(name)
    return function(env) return env and (rawget(env, "migrations") or {})[name] end
end

return M
