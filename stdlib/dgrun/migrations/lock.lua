-- Who migrates a database: Alembic itself lets two upgrades go on at once. A row in the same
-- database, in the schema dgrun, taken and renewed in single statements: that works behind a
-- transaction pooler, where advisory locks do not. Of an SQLite file, a lock of this computer.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local folder = require "dgrun.run.folder"
local fs = require "host.fs"
local host_task = require "host.task"
local lease = require "dgrun.run.lock"
local process = require "dgrun.core.process"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"

local M = {}

---Seconds for which the lease counts after its holder was heard of last.
M.ttl = 30
M.heartbeat = 5
---Seconds between two looks at who holds it.
M.poll = 1

local CREATE = [[DO $$ BEGIN
    PERFORM pg_advisory_xact_lock(%d);
    CREATE SCHEMA IF NOT EXISTS dgrun;
    CREATE TABLE IF NOT EXISTS dgrun.migration_lease (id INT PRIMARY KEY CHECK (id = 1),
        run TEXT NOT NULL, holder TEXT NOT NULL, since TIMESTAMPTZ NOT NULL,
        expires TIMESTAMPTZ NOT NULL);
END $$]]
local LOCK = 0x6d696772 -- "migr"

local TAKE = [[INSERT INTO dgrun.migration_lease AS l (id, run, holder, since, expires)
    VALUES (1, $1, $2, clock_timestamp(), clock_timestamp() + make_interval(secs => $3::float8))
    ON CONFLICT (id) DO UPDATE SET run = excluded.run, holder = excluded.holder,
        since = excluded.since, expires = excluded.expires
    WHERE l.expires <= clock_timestamp() OR l.run = excluded.run
    RETURNING run]]

local HOLDER = [[SELECT run, holder,
        round(extract(epoch FROM clock_timestamp() - since)) AS seconds
    FROM dgrun.migration_lease]]

-- One that a killed run left at work, perhaps on another computer.
local ORPHAN = [[SELECT pid, application_name AS application FROM pg_stat_activity
    WHERE application_name LIKE 'dgrun %' AND application_name <> $1
        AND datname = current_database() AND pid <> pg_backend_pid() LIMIT 1]]

---@class dgrun.migrations.lease
local Lease = {}
Lease.__index = Lease

---A statement on a connection that is made anew when it was lost; all may be made twice.
function Lease:query(sql, values)
    local e
    for attempt = 1, 5 do
        if not self.connection then
            self.connection, e = require("host.postgres").connect { url = self.url }
        end
        local rows
        if self.connection then
            rows, e = self.connection:query(sql, values)
            if rows then
                return rows
            end
            if err.is(e, "postgres.query") then
                err.raise(e)
            end
            self.connection = nil
        end
        if err.is(e, "cancelled") then
            err.raise(e)
        end
        task.sleep(0.2 * attempt)
    end
    err.raise(e)
end

local function tell_change(state, text)
    if text ~= state.told then
        state.told = text
        run.emit("waiting", text)
    end
end

---False where this user may not make the table.
local function prepare(self)
    local ok, e = pcall(self.query, self, CREATE:format(LOCK))
    if ok then
        return true
    elseif e.sqlstate == "42501" then
        effect.note(
            "concurrent upgrades are not prevented: this user may not "
            .. "create the schema dgrun in the database")
        return false
    end
    err.raise(e)
end

local function take(self)
    local state = {}
    while true do
        local mine = self:query(TAKE, { self.run, self.holder, tostring(M.ttl) })[1]
        local orphan = mine and self:query(ORPHAN, { self.application })[1]
        if mine and not orphan then
            return
        elseif orphan then
            tell_change(state, ("A migration of %s is still running in the database (pid %s); "
                .. "waiting "
                .. "for it to end"):format(orphan.application, orphan.pid))
        else
            local holder = self:query(HOLDER)[1]
            if holder then
                tell_change(state, ("%s, run %s, has been migrating the database for %s s; "
                    .. "waiting for it"):format(holder.holder, holder.run, holder.seconds))
            end
        end
        task.sleep(M.poll)
    end
end

local function keep(self)
    while true do
        task.sleep(M.heartbeat)
        pcall(self.query, self, TAKE, { self.run, self.holder, tostring(M.ttl) })
    end
end

local function with_row(opts, f, ...)
    local own, r = process.own(), run.current()
    local self = setmetatable({
        url = check(dburl.libpq(opts.database)), application = opts.application,
        run = r and r.id or ("pid %d of %s"):format(own.pid, own.host),
        holder = lease.whose(own),
    }, Lease)
    if not prepare(self) then
        return f(...)
    end
    take(self)
    local keeper = host_task.spawn(function() keep(self) end,
        { name = "migration lease", daemon = true })
    local result = { pcall(f, ...) }
    task.shield(function()
        keeper:cancel()
        keeper:join()
        pcall(self.query, self, "DELETE FROM dgrun.migration_lease WHERE run = $1", { self.run })
        if self.connection then
            self.connection:close()
        end
    end)
    if not result[1] then
        error(result[2], 0)
    end
    return unpack(result, 2)
end

---A lock ends with its holder; a tool that a killed run had started goes on.
local function await_orphans(lock_path, r, state)
    local before = fs.read(lock_path, { limit = 1024 }) or ""
    while before ~= "" and before ~= r.id do
        local left = process.children(before)[1]
        if not left then
            return
        end
        tell_change(state, ("A migration of %s is still running (pid %d: %s); waiting for it to "
            .. "end")
            :format(before, left.pid, left.command))
        task.sleep(M.poll / 5)
    end
end

local function with_file(opts, place, f, ...)
    local r = run.current()
    if not r or not place.path or place.path == ":memory:" then
        return f(...)
    end
    local path = place.path:sub(1, 1) == "/" and place.path or fs.absolute(opts.dir / place.path)
    local lock_path = folder.make(r.root)
        / ("migrate-%s.lock"):format(require("host.digest").sha256(path):sub(1, 16))
    local lock, e
    local state = {}
    while true do
        lock, e = fs.lock(lock_path)
        if lock then
            break
        elseif not err.is(e, "fs.locked") then
            err.raise(e)
        end
        tell_change(state, "Another run is migrating the database; waiting for it")
        task.sleep(M.poll / 5)
    end
    local result = { pcall(function(...)
        await_orphans(lock_path, r, state)
        check(fs.write(lock_path, r.id, { atomic = false })) -- in place: the lock is on this file
        return f(...)
    end, ...) }
    lock:release()
    if not result[1] then
        error(result[2], 0)
    end
    return unpack(result, 2)
end

---Runs `f` as the only one who migrates this database.
---@generic T
---@param opts {database: userdata|string, dir: string, application: string}
---@param f fun(...): T
---@return T
function M.with(opts, f, ...)
    local place = check(dburl.parse(opts.database))
    if place.dialect == "postgresql" then
        return with_row(opts, f, ...)
    end
    return with_file(opts, place, f, ...)
end

---Seconds between two looks at who blocks.
M.look_every = 1

-- pg_stat_activity and pg_blocking_pids():
-- https://www.postgresql.org/docs/current/monitoring-stats.html
local BLOCKERS = [[
SELECT DISTINCT b.pid, b.usename AS "user", b.application_name AS application, b.state,
    left(regexp_replace(b.query, '\s+', ' ', 'g'), 120) AS query,
    round(extract(epoch FROM clock_timestamp() - coalesce(b.xact_start, b.query_start))) AS seconds
FROM pg_stat_activity w
CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p(pid)
JOIN pg_stat_activity b ON b.pid = p.pid
WHERE w.application_name = $1
ORDER BY b.pid]]

---@class dgrun.migrations.blocker
---@field pid string
---@field user? string
---@field application? string
---@field state? string
---@field query? string
---@field seconds? string since when its transaction goes on

---@param blocker dgrun.migrations.blocker
---@return string
function M.describe_blocker(blocker)
    local application = blocker.application ~= "" and blocker.application or "no name"
    return ("pid %s (%s, user %s), %s, in its transaction for %s s: %s"):format(blocker.pid,
        application, blocker.user or "?", blocker.state or "?", blocker.seconds or "?",
        blocker.query or "?")
end

local function look_at_blockers(url, application, seen, tell)
    local connection = require("host.postgres").connect { url = url, read_only = true }
    if not connection then
        return
    end
    local told = {}
    while true do
        local rows = connection:query(BLOCKERS, { application })
        if not rows then
            return
        end
        for _, row in ipairs(rows) do
            seen[row.pid] = row
            if not told[row.pid] then
                told[row.pid] = true
                tell("waiting for a lock held by " .. M.describe_blocker(row))
            end
        end
        task.sleep(M.look_every)
    end
end

---Looks while `f` runs which sessions keep it waiting for a lock.
---@generic T
---@param opts {url: userdata, application: string, tell: fun(text: string)}
---@param f fun(): T
---@return dgrun.migrations.blocker[] seen
---@return T …
function M.watch_blockers(opts, f)
    local seen = {}
    local watcher = host_task.spawn(function()
        task.sleep(M.look_every)
        look_at_blockers(opts.url, opts.application, seen, opts.tell)
    end, { name = "blockers", daemon = true })
    local result = { pcall(f) }
    watcher:cancel()
    watcher:join()
    if not result[1] then
        error(result[2], 0)
    end
    local list = {}
    for _, row in pairs(seen) do
        list[#list + 1] = row
    end
    table.sort(list, function(a, b) return tonumber(a.pid) < tonumber(b.pid) end)
    return list, unpack(result, 2)
end

return M
