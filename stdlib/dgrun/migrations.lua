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
---@field statement_timeout? string "10min": how long a statement may take
---@field retries? integer how often is tried again when a lock was not free, 4
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

local function ids_of(list)
    local ids = {}
    for i, revision in ipairs(list) do
        ids[i] = revision.revision
    end
    return ids
end

local function last_words(lines)
    for i = #lines, 1, -1 do
        if lines[i]:match("%S") then
            return lines[i]
        end
    end
    return "it said nothing"
end

local RETRIES = 4
local RETRY_SECONDS = 2

---Did a statement give up because somebody else held its lock? SQLSTATE 55P03.
local function is_locked_out(lines)
    local text = table.concat(lines, "\n")
    return text:find("LockNotAvailable", 1, true) ~= nil
        or text:find("canceling statement due to lock timeout", 1, true) ~= nil
end

---Which of these revisions the database has not.
local function left_of(opts, wanted)
    local is_left, left = {}, {}
    local pending = revisions.pending(revisions.read(opts.dir),
        M.current { database = opts.database, dir = opts.dir }, opts.target or "head")
    for _, revision in ipairs(pending) do
        is_left[revision.revision] = true
    end
    for _, revision in ipairs(wanted) do
        if is_left[revision.revision] then
            left[#left + 1] = revision
        end
    end
    return left, is_left
end

---The verdict comes from the database, not from the exit status alone.
local function judge(opts, pending, outcome)
    local left, is_left = left_of(opts, pending)
    local applied = {}
    for _, revision in ipairs(pending) do
        if not is_left[revision.revision] then
            applied[#applied + 1] = revision.revision
        end
    end
    local exit, lines = outcome.exit, outcome.lines
    if exit.status == 0 and #left == 0 then
        return applied
    end
    local locked = is_locked_out(lines)
    local reasons = {}
    for i, blocker in ipairs(outcome.blockers) do
        reasons[i] = "held by " .. require("dgrun.migrations.blockers").describe(blocker)
    end
    err.raise {
        code = locked and "migrations.locked" or "migrations.failed", op = "migrations.upgrade",
        applied = applied, pending = ids_of(left), exit_status = exit.status, lines = lines,
        details = #reasons > 0 and { { title = "lock", lines = reasons } } or nil,
        msg = ("alembic upgrade ended with %s: %s\nApplied: %s. Not applied: %s."):format(
            exit.signal and "signal " .. exit.signal or "status " .. tostring(exit.status),
            locked and ("a lock was not free within %s, %d times"):format(
                opts.lock_timeout or "its time", outcome.tries) or last_words(lines),
            #applied > 0 and table.concat(applied, ", ") or "none",
            #left > 0 and table.concat(ids_of(left), ", ") or "none"),
        hint = locked and "When the session that holds the lock has ended, run again: what is "
            .. "applied is not applied twice."
            or "Mend the first revision that was not applied, then run again: what is applied "
            .. "is not applied twice.",
    }
end

---Runs Alembic once, looking on who keeps it waiting.
local function once(opts, words)
    local alembic = require "dgrun.migrations.alembic"
    local place = check(require("host.dburl").parse(opts.database))
    if place.dialect ~= "postgresql" then
        return {}, alembic.run(opts, words)
    end
    return require("dgrun.migrations.blockers").watch({
        url = check(require("host.dburl").libpq(opts.database)),
        application = alembic.application_name(), tell = effect.note,
    }, function() return alembic.run(opts, words) end)
end

---Again, later each time, as long as only a lock is in the way.
local function with_retries(opts, words)
    local tries = 0
    while true do
        local blockers, exit, lines = once(opts, words)
        tries = tries + 1
        local locked = exit.status ~= 0 and is_locked_out(lines)
        if not locked or tries > (opts.retries or RETRIES) or run.is_stopping() then
            return { exit = exit, lines = lines, blockers = blockers, tries = tries }
        end
        local pause = M.retry_seconds * 2 ^ (tries - 1)
        effect.note(("a lock was not free within %s; trying again in %g s"):format(
            opts.lock_timeout or "its time", pause))
        require("dgrun.task").sleep(pause)
    end
end

---Seconds before the first new try; each later one waits twice as long.
M.retry_seconds = RETRY_SECONDS

---Alone on the database, and never stopped in the middle: a cancel waits until Alembic is through.
local function carry_out(opts, words)
    local alembic = require "dgrun.migrations.alembic"
    return require("dgrun.migrations.lease").with({
        database = opts.database, dir = opts.dir, application = alembic.application_name(),
    }, function()
        return run.finish("the migrations, which are never stopped in the middle", with_retries,
            opts, words)
    end)
end

local function warn_of_pooler(database)
    local place = check(require("host.dburl").parse(database))
    local host = place.host or ""
    local named = host:find("pooler", 1, true) or host:find("bouncer", 1, true)
    if place.dialect == "postgresql" and (place.port == 6432 or named) then
        effect.note(("%s looks like a connection pooler: timeouts may not reach the database, and "
            .. "a transaction pooler breaks some migrations. Migrate with the direct URL."):format(
            host))
    end
end

local upgrade_options = {
    dir = "string", database = "value", target = "string?", lock_timeout = "string?",
    statement_timeout = "string?", timeout = "seconds?", env = "table?", retries = "integer?",
}

local function checked(opts, op)
    check.options(opts, upgrade_options, op)
    for _, name in ipairs { "lock_timeout", "statement_timeout" } do
        if opts[name] and not opts[name]:match("^%d+%a*$") then
            err.raise { code = "input.invalid", op = op,
                msg = ("%s: %s '%s' is not like 10s"):format(op, name, opts[name]) }
        end
    end
end

---Brings the database to `target`. Nothing pending: nothing is run. It is the only one who migrates
---the database; a lock that is not free within `lock_timeout` is tried for again.
---Errors: migrations.failed, migrations.locked, with `applied` and `pending`;
---migrations.no_alembic, migrations.multiple_heads, ….
---@param opts dgrun.migrations.options
---@return {from: string[], to: string[], applied: string[]}
function M.upgrade(opts)
    checked(opts, "migrations.upgrade")
    local target = opts.target or "head"
    local graph = revisions.read(opts.dir)
    local current = M.current { database = opts.database, dir = opts.dir }
    local pending = revisions.pending(graph, current, target)
    local goal = revisions.targets(graph, target)
    if #pending == 0 then
        effect.note(("the database is at %s already"):format(table.concat(current, ", ")))
        return { from = current, to = current, applied = {} }
    end
    warn_of_pooler(opts.database)
    local after = {}
    for i, revision in ipairs(pending) do
        after[i] = ("%s %s"):format(revision.revision, revision.message)
    end
    local applied = effect.write {
        kind = "migrations.upgrade", target = "database",
        summary = ("apply %d revision(s)"):format(#pending), name = "applied",
        after = { apply = after, revision = table.concat(goal, ", ") },
        before = { revision = #current > 0 and table.concat(current, ", ") or "none" },
        apply = function() return judge(opts, pending, carry_out(opts, { "upgrade", target })) end,
    }
    return { from = current, to = goal, applied = effect.planning() and ids_of(pending) or applied }
end

return M
