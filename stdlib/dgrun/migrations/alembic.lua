-- The application's own Alembic: where it is, and what it is run with.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local log = require "host.log"
local proc = require "host.proc"
local python = require "dgrun.project.python"
local run = require "dgrun.run.context"

local M = {}

---@class dgrun.migrations.program
---@field alembic string[] argv
---@field python? string[] argv of the interpreter that has it

---In this order: the application's .venv, uv, poetry, PATH.
---@param dir string
---@return dgrun.migrations.program
function M.find(dir)
    local own = python.own(dir, "alembic")
    if own then
        return { alembic = own, python = python.beside(own) }
    end
    local found = python.on_path "alembic"
    if found then
        local interpreter = python.interpreter_of(found)
        return { alembic = { "alembic" }, python = interpreter and { interpreter } }
    end
    err.raise {
        code = "migrations.no_alembic", op = "migrations.upgrade",
        msg = "Alembic was not found: not in " .. dir / ".venv/bin/alembic" .. ", not by uv "
            .. "(uv.lock), not by poetry (poetry.lock), not on PATH",
        hint = "Install the application's requirements into .venv, or Alembic itself.",
    }
end

-- How Alembic is started: as its console script does it, but for two things.
-- A folder alembic/ in the checkout must not take the place of the library: neither the current
-- directory nor an entry of PYTHONPATH that leads there is looked at until the library is loaded.
-- What prepend_sys_path adds comes later and finds the application as ever.
-- asyncpg reads no PGOPTIONS, and SQLAlchemy hands it no settings from a URL: they are added to
-- whatever it is called with. What the application sets itself wins.
local PROGRAM = [[
import os, sys
path = sys.path[1:]  # without the entry that -c adds
here = os.path.realpath(os.getcwd())
sys.path[:] = [entry for entry in path if os.path.realpath(entry or ".") != here]
import alembic.config, alembic.command, alembic.context, alembic.op
sys.path[:] = path
if "DGRUN_SETTINGS" in os.environ:
    import asyncpg
    settings = dict(item.split("=", 1) for item in os.environ.pop("DGRUN_SETTINGS").split("\n"))
    connect = asyncpg.connect
    def with_settings(*args, **options):
        options["server_settings"] = {**settings, **(options.get("server_settings") or {})}
        return connect(*args, **options)
    asyncpg.connect = with_settings
sys.exit(alembic.config.main(argv=sys.argv[1:], prog="alembic"))
]]

---What a session of the migration is called in pg_stat_activity.
---@return string
function M.application_name()
    local r = run.current()
    if not r then
        return "dgrun by hand"
    end
    return r.attempt > 1 and ("dgrun %s/%d"):format(r.id, r.attempt) or "dgrun " .. r.id
end

---Settings of PostgreSQL for its sessions.
local function settings_of(opts)
    return {
        { "lock_timeout", opts.lock_timeout }, { "statement_timeout", opts.statement_timeout },
    }
end

local function joined(settings, format, separator)
    local parts = {}
    for _, setting in ipairs(settings) do
        if setting[2] then
            parts[#parts + 1] = format:format(setting[1], setting[2])
        end
    end
    return #parts > 0 and table.concat(parts, separator) or nil
end

---The environment of a tool that speaks to PostgreSQL by libpq.
---@param opts {env?: table, database?: userdata|string, lock_timeout?: string,
---  statement_timeout?: string}
---@return table<string, any>
function M.environment(opts)
    local env = { PYTHONUNBUFFERED = "1" }
    for name, value in pairs(opts.env or {}) do
        env[name] = value
    end
    env.DATABASE_URL = opts.database or env.DATABASE_URL
    env.PGAPPNAME = M.application_name()
    local given = os.getenv "PGOPTIONS"
    local ours = joined(settings_of(opts), "-c %s=%s", " ")
    env.PGOPTIONS = given and given ~= "" and ours and given .. " " .. ours or ours
    return env
end

---How Alembic is called so that its sessions have these settings.
---@param opts dgrun.migrations.options
---@param words string[] "upgrade", "head"
---@return string[] argv
---@return table<string, any> env
function M.command(opts, words)
    local program = M.find(opts.dir)
    local place = check(dburl.parse(opts.database))
    local env = M.environment(opts)
    local argv = { unpack(program.python or program.alembic) }
    if program.python then
        argv[#argv + 1], argv[#argv + 2] = "-c", PROGRAM
    end
    local settings = settings_of(opts)
    if place.dialect == "postgresql" and place.driver == "asyncpg" then
        table.insert(settings, { "application_name", M.application_name() })
        if program.python then
            env.DGRUN_SETTINGS = joined(settings, "%s=%s", "\n")
        else
            effect.note("could not find alembic's Python: its sessions have no lock_timeout")
        end
    end
    for _, word in ipairs(words) do
        argv[#argv + 1] = word
    end
    return argv, env
end

local KEPT_LINES = 15

---Runs a program; its output becomes lines of the step.
---@param argv string[]
---@param env table<string, any>
---@param opts {dir: string, timeout?: number}
---@return {status: integer, signal?: integer} exit
---@return string[] lines the last ones
function M.spawn(argv, env, opts)
    local lines = {}
    local child = check(proc.spawn {
        argv = argv, cwd = opts.dir, env = env, timeout = opts.timeout,
    })
    for line in function() return child:read() end do
        local text = log.clean(line.line)
        run.log(text)
        lines[#lines + 1] = text
        if #lines > KEPT_LINES then
            table.remove(lines, 1)
        end
    end
    return check(child:wait()), lines
end

---Runs Alembic.
---@param opts dgrun.migrations.options
---@param words string[]
---@return {status: integer, signal?: integer} exit
---@return string[] lines the last ones
function M.run(opts, words)
    local argv, env = M.command(opts, words)
    return M.spawn(argv, env, opts)
end

return M
