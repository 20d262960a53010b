-- Migrations of a real PostgreSQL by the real Alembic, while others are in the way.
local err = require "dgrun.core.err"
local fs = require "host.fs"
local host_task = require "host.task"
local matrix = require "support.matrix"
local migrations = require "dgrun.migrations"
local postgres = require "support.postgres"
local project = require "support.project"
local run = require "dgrun.run"
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local env_py = [[
import os
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

url = os.environ["DATABASE_URL"]

def migrate(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()

if "+asyncpg" in url:
    import asyncio
    from sqlalchemy.ext.asyncio import create_async_engine

    async def online():
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
        await engine.dispose()

    asyncio.run(online())
else:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        migrate(connection)
]]

---A revision that runs these statements, one after the other.
local function revision(id, down, ...)
    local lines = {}
    for i, statement in ipairs { ... } do
        lines[i] = ('    op.execute("""%s""")'):format(statement)
    end
    return ([[
"""%s"""
from alembic import op
revision = "%s"
down_revision = %s
branch_labels = None
depends_on = None

def upgrade():
%s

def downgrade():
    op.execute("DROP TABLE IF EXISTS nothing")
]]):format(id, id, down and '"' .. down .. '"' or "None", table.concat(lines, "\n"))
end

local function application()
    return project.make {
        ["alembic.ini"] = "[alembic]\nscript_location = migrations\n",
        ["migrations/env.py"] = env_py,
        ["migrations/script.py.mako"] = "",
        ["migrations/versions/a.py"] = revision("aaaa", nil,
            "CREATE TABLE site (id INT)", "CREATE TABLE told (value TEXT)"),
        ["migrations/versions/b.py"] = revision("bbbb", "aaaa",
            "ALTER TABLE site ADD COLUMN name TEXT"),
        ["migrations/versions/c.py"] = revision("cccc", "bbbb",
            "INSERT INTO told SELECT current_setting('lock_timeout') || ' ' || "
            .. "current_setting('statement_timeout')"),
    }
end

local function connect(server)
    return assert(require("host.postgres").connect { url = server.url })
end

---A run of an upgrade; its record, with what it noted.
local function upgrade(dir, url, opts)
    local all = { dir = dir, database = url, lock_timeout = "300ms", statement_timeout = "20s" }
    for name, value in pairs(opts or {}) do
        all[name] = value
    end
    return run.execute({ name = "test", root = dir }, function()
        return migrations.upgrade(all)
    end)
end

local function notes_of(record)
    local lines = {}
    for i, note in ipairs(record.notes) do
        lines[i] = note.text
    end
    return table.concat(lines, "\n")
end

local drivers = {
    { "psycopg2", function(server)
        return (server.url:gsub("^postgresql", "postgresql+psycopg2"))
    end },
    { "asyncpg", function(server) return server.async_url end },
}

for _, driver in ipairs(drivers) do
    describe("an upgrade by " .. driver[1], function()
        it("has the timeouts in its sessions", function()
            local server, dir = postgres.start(), application()
            local record = upgrade(dir, driver[2](server))
            assert.is_nil(record.error, tostring(record.error))
            local connection = connect(server)
            assert.same({ { value = "300ms 20s" } }, connection:query "SELECT value FROM told")
            assert.same({}, connection:query "SELECT * FROM dgrun.migration_lease")
            connection:close()
        end)
    end)
end

for _, driver in ipairs(matrix.pick({ drivers[2] }, drivers)) do
    describe("an upgrade by " .. driver[1], function()
        it("gives up on a lock, names who holds it, and goes on when it is free", function()
            require("dgrun.migrations.execute").retry_seconds = 0.3
            require("dgrun.migrations.lock").look_every = 0.05
            local server, dir = postgres.start(), application()
            local url = driver[2](server)
            assert.is_nil(upgrade(dir, url, { target = "aaaa" }).error)
            local holder = connect(server)
            assert(holder:query "SET application_name = 'a long report'")
            assert(holder:query "BEGIN")
            assert(holder:query "SELECT count(*) FROM site")

            local record = upgrade(dir, url, { retries = 1 })
            assert.is_true(err.is(record.error, "migrations.locked"), tostring(record.error))
            assert.matches("Applied: none. Not applied: bbbb, cccc", record.error.msg, 1, true)
            assert.matches("could not get a lock within 300ms, 2 times", record.error.msg, 1, true)
            assert.matches("a long report", record.error.details[1].lines[1], 1, true)
            assert.matches("SELECT count", record.error.details[1].lines[1], 1, true)
            assert.matches("waiting for a lock held by pid %d+ %(a long report",
                notes_of(record))

            -- The site goes on meanwhile: nothing queues for longer than the timeout.
            local waiting = host_task.spawn(function()
                return upgrade(dir, url, { retries = 20 })
            end)
            local site = connect(server)
            for _ = 1, 20 do
                task.timeout(5, function() assert(site:query "SELECT count(*) FROM site") end)
                task.sleep(0.05)
            end
            assert(holder:query "COMMIT")
            local _, done = waiting:join()
            assert.is_nil(done.error, tostring(done.error))
            assert.same({ "bbbb", "cccc" }, done.result.applied)
            site:close()
            holder:close()
        end)
    end)
end

describe("an upgrade", function()
    it("says what is applied and what is not when a revision fails", function()
        local server, dir = postgres.start(), application()
        assert(fs.write(dir / "migrations/versions/b.py", revision("bbbb", "aaaa", "SELECT 1/0")))
        local record = upgrade(dir, server.url)
        assert.equal("migrations.failed", record.error.code)
        assert.matches("Applied: aaaa. Not applied: bbbb, cccc", record.error.msg, 1, true)
        assert.matches("division by zero", table.concat(record.error.lines, "\n"))
        -- Only a lock is tried for again.
        assert.is_nil(notes_of(record):find("trying again", 1, true))
    end)

    it("waits for one that goes on, and applies nothing twice", function()
        require("dgrun.migrations.lock").poll = 0.05
        local server, dir = postgres.start(), application()
        local scripts = require "support.scripts"
        assert(fs.write(dir / "migrations/versions/a.py", revision("aaaa", nil,
            "CREATE TABLE site (id INT)", "CREATE TABLE told (value TEXT)", "SELECT pg_sleep(1)")))
        local text = ([[
            local dg = require "dgrun"
            require("dgrun.migrations.lock").poll = 0.05
            dg.step("Migrate", function()
                dg.log("applied " .. table.concat(dg.migrations.upgrade {
                    dir = %q, database = %q }.applied, ","))
            end)]]):format(dir, server.url)
        local both = {}
        for i = 1, 2 do
            both[i] = scripts.start({ root = dir, env = {} }, text)
        end
        local all = {}
        for i, script in ipairs(both) do
            assert.equal(0, script.ended().status, script.text())
            all[i] = script.text()
        end
        local together = table.concat(all, "\n")
        assert.matches("has been migrating the database", together)
        assert.matches("applied aaaa,bbbb,cccc", together)
        local connection = connect(server)
        assert.same({ { n = "1" } }, connection:query "SELECT count(*) AS n FROM told")
        connection:close()
    end)

    it("says that a pooler takes no timeouts; without them it is alone there too", function()
        require("dgrun.migrations.lock").poll = 0.05
        local server, dir = postgres.start(), application()
        local url = require("support.pgbouncer").start(server).url
        local e = upgrade(dir, url).error
        assert.equal("migrations.failed", e.code)
        -- "…: options", or in newer versions "… in options: lock_timeout".
        assert.matches("FATAL:  unsupported startup parameter[^\n]+\nApplied: none", e.msg)
        assert.matches("a connection pooler, which accepts no timeouts", e.hint, 1, true)

        local text = ([[
            local dg = require "dgrun"
            require("dgrun.migrations.lock").poll = 0.05
            dg.step("Migrate", function()
                dg.log("applied " .. table.concat(dg.migrations.upgrade {
                    dir = %q, database = %q }.applied, ","))
            end)]]):format(dir, url)
        local scripts = require "support.scripts"
        local runs, all = {}, {}
        for i = 1, 3 do
            runs[i] = scripts.start({ root = dir, env = {} }, text)
        end
        for i, script in ipairs(runs) do
            assert.equal(0, script.ended().status, script.text())
            all[i] = script.text()
        end
        -- Each says what it did itself.
        local told = table.concat(all, "\n")
        local _, count = told:gsub("applied aaaa,bbbb,cccc", "")
        assert.equal(1, count, told)
        _, count = told:gsub("another process has applied them in the meantime", "")
        assert.equal(2, count, told)
        local connection = connect(server)
        assert.same({ { n = "1" } }, connection:query "SELECT count(*) AS n FROM told")
        connection:close()
    end)

    it("goes on after a kill in the middle, once what it left has ended", function()
        local server, dir = postgres.start(), application()
        local scripts = require "support.scripts"
        assert(fs.write(dir / "migrations/versions/a.py", revision("aaaa", nil,
            "CREATE TABLE site (id INT)", "CREATE TABLE told (value TEXT)", "SELECT pg_sleep(1)")))
        local text = ([[
            local dg = require "dgrun"
            local lease = require "dgrun.migrations.lock"
            lease.poll, lease.ttl, lease.heartbeat = 0.05, 1, 0.2
            dg.step("Migrate", function()
                dg.migrations.upgrade { dir = %q, database = %q }
            end)]]):format(dir, server.url)
        local first = scripts.start({ root = dir, env = {} }, text)
        first.said "apply 3 revision"
        local connection = connect(server)
        until_true(function()
            local rows = connection:query [[SELECT 1 AS found FROM pg_stat_activity
                WHERE application_name LIKE 'dgrun %' AND query LIKE '%pg_sleep%']]
            return rows and rows[1]
        end)
        first.kill "SIGKILL"
        first.ended()
        local second = scripts.start({ root = dir, env = {} }, text)
        assert.equal(0, second.ended().status, second.text())
        assert.same({ { version_num = "cccc" } },
            connection:query "SELECT version_num FROM alembic_version")
        assert.same({ { n = "1" } }, connection:query "SELECT count(*) AS n FROM told")
        connection:close()
    end)

    it("refuses a timeout that is none", function()
        local dir = application()
        for _, name in ipairs { "lock_timeout", "statement_timeout" } do
            local record = upgrade(dir, "postgresql://x@127.0.0.1:1/db", { [name] = "soon" })
            assert.equal("input.invalid", record.error.code)
            assert.matches(name, record.error.msg)
        end
    end)
end)
