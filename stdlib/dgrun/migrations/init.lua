-- Database migrations. What is there and what is pending is answered without Python; the upgrade
-- itself is the application's own Alembic.
local check = require "dgrun.core.check"
local current = require "dgrun.migrations.current"
local effect = require "dgrun.run.effect"
local fs = require "host.fs"
local given = require "dgrun.project.environment_options"
local revisions = require "dgrun.migrations.revisions"

local M = {}

---How long a statement of an upgrade waits for a lock, where an environment is given and it is not
---said.
local LOCK_TIMEOUT = "10s"

---@class dgrun.migrations.options
---@field environment? dgrun.environment gives `database`, its secret DATABASE_URL, `env`, all of
---  its secrets, and what its `migrations` declares; lock_timeout is 10s then
---@field source? dgrun.git.source gives `dir`
---@field dir? string folder of the application, with alembic.ini
---@field database? userdata|string SQLAlchemy URL
---@field target? string "head" by default; "heads", a revision, a branch label
---@field lock_timeout? string "10s": how long a statement may wait for a lock
---@field statement_timeout? string "10min": how long a statement may take
---@field retries? integer how often is tried again when a lock was not free, 4
---@field timeout? number seconds for the whole upgrade
---@field env? table<string, string|userdata> more of the environment that env.py needs
---@field before_destructive? {command: string[]} runs before an upgrade that loses data or cannot
---  be judged: a backup, a branch of the database

---What an environment and a source give.
local fill = {
    dir = given.migrations_dir, target = given.migrations "target",
    database = function(env) return env and env.secrets.DATABASE_URL end,
    lock_timeout = function(env) return env and LOCK_TIMEOUT end,
    env = given.variables,
}

---@param opts {dir: string}
---@return string[] # the heads of the revision files
function M.heads(opts)
    check.options(opts, { dir = "string" }, "migrations.heads")
    return revisions.heads(revisions.read(opts.dir))
end

---The revisions the database is at; none before the first upgrade.
---@param opts {database: userdata|string, dir?: string}
---@return string[] sorted
function M.current(opts)
    check.options(opts, { database = "value", dir = "string?" }, "migrations.current")
    return current.read(opts.database, opts.dir)
end

---What an upgrade would apply, in order.
---@param opts {dir: string, database: userdata|string, target?: string}
---@return dgrun.revision[]
function M.pending(opts)
    opts = given.fill(opts, { dir = fill.dir, target = fill.target, database = fill.database },
        "migrations.pending")
    check.options(opts, { dir = "string", database = "value", target = "string?" },
        "migrations.pending")
    local graph = revisions.read(opts.dir)
    return revisions.pending(graph, current.read(opts.database, opts.dir), opts.target or "head")
end

---What an upgrade would do: each pending revision with its SQL, its hazards and its class. Changes
---nothing; the SQL comes from Alembic's offline mode.
---@param opts dgrun.migrations.plan.options
---@return dgrun.migrations.plan
function M.plan(opts)
    opts = given.fill(opts, fill, "migrations.plan")
    return require("dgrun.migrations.plan").plan(opts)
end

---Hazards of the revision files that were added or changed since the merge base with `since`, from
---the files alone: committed or not, without a database.
---Errors: git.unknown_ref, git.no_merge_base, migrations.not_python, ….
---@param opts? dgrun.migrations.lint.options
---@return dgrun.migrations.lint.report
---@return dgrun.err? # refused.hazards: some findings are not accepted
function M.lint(opts)
    return require("dgrun.migrations.lint").lint(opts or {})
end

---Does an environment declare neither a database nor migrations, and the checkout have none?
local function has_nothing_to_migrate(opts)
    local env, source = opts.environment, opts.source
    local is_declared = env and source and (given.database(env) or given.migrations "command" (env)
        or given.migrations_dir(env, source) ~= source.dir)
    return env and source and not is_declared and not opts.dir and not opts.database
        and not fs.exists(source.dir / "alembic.ini")
end

---Brings the database to `target`. Nothing pending: nothing is run. It is the only one who migrates
---the database; a lock that is not free within `lock_timeout` is tried for again. Where an
---environment declares no DATABASE_URL and the checkout has no alembic.ini, there is nothing to do.
---Errors: migrations.failed, migrations.locked, with `applied` and `pending`;
---migrations.no_alembic, migrations.multiple_heads, ….
---@param opts dgrun.migrations.options
---@return {from: string[], to: string[], applied: string[]}
function M.upgrade(opts)
    local declared = type(opts) == "table" and opts.environment
        and rawget(opts.environment, "migrations") or {}
    if type(opts) == "table" and has_nothing_to_migrate(opts) then
        effect.note("nothing to migrate: the environment declares no DATABASE_URL, and the "
            .. "checkout has no alembic.ini")
        return { from = {}, to = {}, applied = {} }
    end
    opts = given.fill(opts, fill, "migrations.upgrade")
    if declared.command and not opts.command then
        return M.command { argv = declared.command, dir = opts.dir, database = opts.database,
            env = opts.env, lock_timeout = opts.lock_timeout }
    end
    opts.before_destructive = opts.before_destructive or declared.before_destructive
    return require("dgrun.migrations.upgrade").upgrade(opts)
end

---Brings the database back to `target`, a revision, -1 or "base", by the downgrades of the files.
---What they drop is gone. Errors as of upgrade, with `undone` and `left`.
---@param opts dgrun.migrations.options
---@return {from: string[], to: string[], undone: string[]}
function M.downgrade(opts)
    return require("dgrun.migrations.upgrade").downgrade(opts)
end

---Says that the database is at `target`, without running anything: for one that was brought there
---in another way.
---@param opts dgrun.migrations.options
---@return {from: string[], to: string[]}
function M.stamp(opts)
    return require("dgrun.migrations.upgrade").stamp(opts)
end

---Migrates with another tool: Django, Flyway, golang-migrate, a plain command. With `database`
---it is the only one who migrates it, and libpq's timeouts are set.
---Errors: migrations.failed, migrations.locked.
---@param opts dgrun.migrations.command
---@return {ran: boolean}
function M.command(opts)
    return require("dgrun.migrations.upgrade").command(opts)
end

return M
