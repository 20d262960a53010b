-- Database migrations. What is there and what is pending is answered without Python; the upgrade
-- itself is the application's own Alembic.
local check = require "dgrun.check"
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local fs = require "host.fs"
local revisions = require "dgrun.revisions"
local run = require "dgrun.run"

local M = {}

local CONNECT_SECONDS = 15

---@class dgrun.migrations.options
---@field dir string folder of the application, with alembic.ini
---@field database userdata|string SQLAlchemy URL
---@field target? string "head" by default; "heads", a revision, a branch label
---@field lock_timeout? string "10s": how long a statement may wait for a lock
---@field timeout? number seconds for the whole upgrade
---@field env? table<string, string|userdata> more of the environment that env.py needs

---@param opts {dir: string}
---@return string[] # the heads of the revision files
function M.heads(opts)
    check.options(opts, { dir = "string" }, "migrations.heads")
    return revisions.heads(revisions.read(opts.dir))
end

local queries = {}

function queries.sqlite(_, place)
    if not place.path or not fs.exists(place.path) then
        return {}
    end
    local db = check(require("host.sqlite").open(place.path, { read_only = true, create = false }))
    local tables = db:query(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
    local rows, e = tables or {}, nil
    if tables and #tables > 0 then
        rows, e = db:query("SELECT version_num FROM alembic_version")
    end
    db:close()
    return check(rows, e)
end

function queries.postgresql(database)
    local url = require("host.dburl").libpq(database)
    return require("dgrun.task").timeout(CONNECT_SECONDS, function()
        local connection = check(require("host.postgres").connect { url = url, read_only = true })
        local found = check(connection:query(
            "SELECT to_regclass('alembic_version') IS NOT NULL AS there"))
        local rows = found[1].there == "t"
            and check(connection:query("SELECT version_num FROM alembic_version")) or {}
        connection:close()
        return rows
    end)
end

---The revisions the database is at; none before the first upgrade.
---@param opts {database: userdata|string, dir?: string}
---@return string[] sorted
function M.current(opts)
    check.options(opts, { database = "value", dir = "string?" }, "migrations.current")
    local place = check(require("host.dburl").parse(opts.database))
    local query = queries[place.dialect]
    if not query then
        err.raise { code = "migrations.unsupported_database", op = "migrations.current",
            msg = ("%s databases are not supported"):format(place.dialect),
            hint = "postgresql and sqlite are." }
    end
    if place.dialect == "sqlite" and place.path and place.path:sub(1, 1) ~= "/" and opts.dir then
        place.path = opts.dir / place.path
    end
    local ids = {}
    for i, row in ipairs(query(opts.database, place)) do
        ids[i] = row.version_num
    end
    table.sort(ids)
    return ids
end

---What an upgrade would apply, in order.
---@param opts {dir: string, database: userdata|string, target?: string}
---@return dgrun.revision[]
function M.pending(opts)
    check.options(opts, { dir = "string", database = "value", target = "string?" },
        "migrations.pending")
    local graph = revisions.read(opts.dir)
    local current = M.current { database = opts.database, dir = opts.dir }
    return revisions.pending(graph, current, opts.target or "head")
end

local function on_path(name)
    for folder in (os.getenv("PATH") or ""):gmatch("[^:]+") do
        if fs.exists(folder / name) then
            return true
        end
    end
end

---The application's Alembic. In this order: its .venv, uv, poetry, PATH.
---@param dir string
---@return string[] argv
function M.alembic(dir)
    local own = dir / ".venv/bin/alembic"
    if fs.exists(own) then
        return { own }
    elseif fs.exists(dir / "uv.lock") and on_path "uv" then
        return { "uv", "run", "--frozen", "alembic" }
    elseif fs.exists(dir / "poetry.lock") and on_path "poetry" then
        return { "poetry", "run", "alembic" }
    elseif on_path "alembic" then
        return { "alembic" }
    end
    err.raise {
        code = "migrations.no_alembic", op = "migrations.upgrade",
        msg = "Alembic was not found: not in " .. own .. ", not by uv (uv.lock), not by poetry "
            .. "(poetry.lock), not on PATH",
        hint = "Install the application's requirements into .venv, or Alembic itself.",
    }
end

local function environment_of(opts)
    local env = {}
    for name, value in pairs(opts.env or {}) do
        env[name] = value
    end
    env.DATABASE_URL = opts.database
    env.PYTHONUNBUFFERED = "1"
    local driver = require("host.dburl").parse(opts.database).driver
    if opts.lock_timeout and driver ~= "asyncpg" then
        env.PGOPTIONS = "-c lock_timeout=" .. opts.lock_timeout
    elseif opts.lock_timeout then
        effect.note("asyncpg does not read PGOPTIONS: lock_timeout is not set")
    end
    return env
end

local function ids_of(list)
    local ids = {}
    for i, revision in ipairs(list) do
        ids[i] = revision.revision
    end
    return ids
end

local KEPT_LINES = 15

---Runs Alembic; its output becomes lines of the step.
local function run_alembic(opts, target)
    local argv = M.alembic(opts.dir)
    for _, word in ipairs { "upgrade", target } do
        argv[#argv + 1] = word
    end
    local lines = {}
    local child = check(require("host.proc").spawn {
        argv = argv, cwd = opts.dir, env = environment_of(opts), timeout = opts.timeout,
    })
    for line in function() return child:read() end do
        local text = require("host.log").clean(line.line)
        run.log(text)
        lines[#lines + 1] = text
        if #lines > KEPT_LINES then
            table.remove(lines, 1)
        end
    end
    return check(child:wait()), lines
end

local function last_words(lines)
    for i = #lines, 1, -1 do
        if lines[i]:match("%S") then
            return lines[i]
        end
    end
    return "it said nothing"
end

---The verdict comes from the database, not from the exit status alone.
local function judge(opts, pending, exit, lines)
    local left = revisions.pending(revisions.read(opts.dir),
        M.current { database = opts.database, dir = opts.dir }, opts.target or "head")
    local is_left, applied = {}, {}
    for _, revision in ipairs(left) do
        is_left[revision.revision] = true
    end
    for _, revision in ipairs(pending) do
        if not is_left[revision.revision] then
            applied[#applied + 1] = revision.revision
        end
    end
    if exit.status == 0 and #left == 0 then
        return applied
    end
    err.raise {
        code = "migrations.failed", op = "migrations.upgrade", applied = applied,
        pending = ids_of(left), exit_status = exit.status, lines = lines,
        msg = ("alembic upgrade ended with %s: %s\nApplied: %s. Not applied: %s."):format(
            exit.signal and "signal " .. exit.signal or "status " .. tostring(exit.status),
            last_words(lines), #applied > 0 and table.concat(applied, ", ") or "none",
            #left > 0 and table.concat(ids_of(left), ", ") or "none"),
        hint = "Mend the first revision that was not applied, then run again: what is applied "
            .. "is not applied twice.",
    }
end

local upgrade_options = {
    dir = "string", database = "value", target = "string?", lock_timeout = "string?",
    timeout = "seconds?", env = "table?",
}

---Brings the database to `target`. Nothing pending: nothing is run.
---@param opts dgrun.migrations.options
---@return {from: string[], to: string[], applied: string[]}
function M.upgrade(opts)
    check.options(opts, upgrade_options, "migrations.upgrade")
    if opts.lock_timeout and not opts.lock_timeout:match("^%d+%a*$") then
        err.raise { code = "input.invalid", op = "migrations.upgrade",
            msg = ("migrations.upgrade: lock_timeout '%s' is not like 10s"):format(
                opts.lock_timeout) }
    end
    local target = opts.target or "head"
    local graph = revisions.read(opts.dir)
    local current = M.current { database = opts.database, dir = opts.dir }
    local pending = revisions.pending(graph, current, target)
    local goal = revisions.targets(graph, target)
    if #pending == 0 then
        effect.note(("the database is at %s already"):format(table.concat(current, ", ")))
        return { from = current, to = current, applied = {} }
    end
    local after = {}
    for i, revision in ipairs(pending) do
        after[i] = ("%s %s"):format(revision.revision, revision.message)
    end
    local applied = effect.write {
        kind = "migrations.upgrade", target = "database",
        summary = ("apply %d revision(s)"):format(#pending), name = "applied",
        after = { apply = after, revision = table.concat(goal, ", ") },
        before = { revision = #current > 0 and table.concat(current, ", ") or "none" },
        apply = function()
            -- Never stopped in the middle: a cancel waits until the migrations are through.
            return run.finish("the migrations, which are never stopped in the middle", function()
                local exit, lines = run_alembic(opts, target)
                return judge(opts, pending, exit, lines)
            end)
        end,
    }
    return { from = current, to = goal, applied = effect.planning() and ids_of(pending) or applied }
end

return M
