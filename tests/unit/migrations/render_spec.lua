-- The SQL of pending revisions by one run of env.py, and that a plan changes no database.
local app = require "support.alembic_app"
local fs = require "host.fs"
local matrix = require "support.matrix"
local migrations = require "dgrun.migrations"
local postgres = require "support.postgres"
local project = require "support.project"
local run = require "dgrun.run"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

-- They know no offline mode, and run DDL when they are imported.
local online_only = {}

online_only.psycopg2 = [[
import os
from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"])
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE made_at_import (id integer)"))
raw = engine.raw_connection()
try:
    raw.cursor().execute("CREATE TABLE made_below (id integer)")
    raw.commit()
except Exception as error:
    print("refused:", error)
raw.close()
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
]]

online_only.asyncpg = [[
import asyncio, os
import asyncpg
from alembic import context
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

def migrate(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    url = os.environ["DATABASE_URL"]
    own = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await own.execute("CREATE TABLE made_below (id integer)")
    except Exception as error:
        print("refused:", error)
    await own.close()
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE made_at_import (id integer)"))
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()

asyncio.run(main())
]]

local function application(revisions, env_py)
    local files = app.files(revisions)
    files["migrations/env.py"] = env_py or files["migrations/env.py"]
    return project.make(files)
end

local two = {
    ["a.py"] = app.revision("aaaa", nil, 'op.execute("CREATE TABLE site (id integer)")'),
    ["b.py"] = app.revision("bbbb", "aaaa", 'op.create_index("by_id", "site", ["id"])'),
}

---What stands in a database beside PostgreSQL's own tables.
local function tables_of(url)
    local connection = assert(require("host.postgres").connect { url = url })
    local rows = assert(connection:query [[SELECT coalesce(string_agg(relname, ' '), '') AS names
        FROM pg_class WHERE relnamespace NOT IN
            ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,
             'pg_toast'::regnamespace)]])
    connection:close()
    return rows[1].names
end

describe("a plan with an env.py that runs DDL at import", function()
    for driver, env_py in pairs(online_only) do
        it("changes nothing: " .. driver, function()
            local server = postgres.start()
            local url = driver == "asyncpg" and server.async_url or server.url
            local dir = application(two, env_py)
            local plan = migrations.plan { dir = dir, database = url }
            assert.matches("CREATE INDEX by_id ON site", plan.pending[2].sql, 1, true)
            assert.is_nil(plan.pending[1].sql_error)
            assert.equal("", tables_of(server.url))

            local record = run.execute({ name = "test", root = dir, plan = true }, function()
                migrations.upgrade { dir = dir, database = url }
            end)
            assert.is_nil(record.error, tostring(record.error))
            assert.equal("", tables_of(server.url))
            -- It is this env.py that would have done it.
            run.execute({ name = "test", root = dir }, function()
                migrations.upgrade { dir = dir, database = url }
            end)
            assert.matches("made_at_import", tables_of(server.url), 1, true)
            assert.matches("made_below", tables_of(server.url), 1, true)
        end)
    end

    it("changes nothing: SQLite", function()
        local dir = application(two, online_only.psycopg2)
        local plan = migrations.plan { dir = dir, database = "sqlite:///app.db" }
        assert.matches("CREATE INDEX by_id ON site", plan.pending[2].sql, 1, true)
        assert.is_false(fs.exists(dir / "app.db"))
    end)
end)

describe("the SQL of pending revisions", function()
    local LOOKS = 'list(op.get_bind().execute(sa.text("SELECT 1")).fetchall())'

    local function chain(count, body)
        local files, below = {}, nil
        for i = 1, count do
            local id = ("r%03d"):format(i)
            files[id .. ".py"] = app.revision(id, below, body(i))
            below = id
        end
        return files
    end

    it("comes from one run of env.py, however many fail offline", function()
        local server = postgres.start()
        local dir = application(chain(109, function(i)
            return i % 5 == 0 and LOOKS
                or ('op.create_table("t%d", sa.Column("id", sa.Integer))'):format(i)
        end), "import os\nopen('processes', 'a').write('%d\\n' % os.getpid())\n" .. app.env_py)
        local plan = migrations.plan { dir = dir, database = server.url }
        -- Twice, offline and on a copy, in one process.
        assert.matches("^(%d+)\n%1\n$", fs.read(dir / "processes"))
        assert.equal(109, #plan.pending)
        assert.matches("CREATE TABLE t109", plan.pending[109].sql, 1, true)
        assert.matches("^BEGIN;", plan.pending[1].sql)
        assert.matches("INSERT INTO alembic_version", plan.pending[1].sql, 1, true)
        assert.matches("SET version_num='r109'", plan.pending[109].sql, 1, true)
    end)

    local INSPECTS = [[
names = [c["name"] for c in sa.inspect(op.get_bind()).get_columns("site")]
if "title" not in names:
    op.add_column("site", sa.Column("title", sa.Text))
op.get_bind().execute(sa.text("INSERT INTO site (id, title) VALUES (:id, :t)"),
    {"id": 7, "t": "it's 100%"})
]]

    local function inspecting()
        return {
            ["a.py"] = two["a.py"],
            ["b.py"] = app.revision("bbbb", "aaaa", INSPECTS),
            ["c.py"] = app.revision("cccc", "bbbb", INSPECTS),
        }
    end

    local function is_known(plan, how)
        local b, c = plan.pending[#plan.pending - 1], plan.pending[#plan.pending]
        assert.is_nil(b.sql_error)
        assert.is_nil(c.sql_error)
        assert.equal(how, b.sql_from)
        assert.matches("ALTER TABLE site ADD COLUMN title TEXT;", b.sql, 1, true)
        assert.matches("VALUES (7, 'it''s 100%')", b.sql, 1, true)
        assert.matches("SET version_num='bbbb'", b.sql, 1, true)
        return c.sql
    end

    for _, driver in ipairs(matrix.pick({ "asyncpg" }, { "psycopg2", "asyncpg" })) do
        it("comes from a copy of the schema where a revision inspects: " .. driver, function()
            local server = postgres.start()
            local url = driver == "asyncpg" and server.async_url or server.url
            local dir = application(inspecting(), online_only[driver])
            local plan = migrations.plan { dir = dir, database = url }
            assert.equal("offline", plan.pending[1].sql_from)
            -- It saw the column that the one before had added.
            assert.not_matches("ADD COLUMN", is_known(plan, "copy"))
            assert.equal("", tables_of(server.url))
        end)
    end

    for _, driver in ipairs(matrix.pick({ "psycopg2" }, { "psycopg2", "asyncpg" })) do
        it("is recorded without being sent where there can be no copy: " .. driver, function()
            local server = postgres.start()
            local url = driver == "asyncpg" and server.async_url or server.url
            local connection = assert(require("host.postgres").connect { url = server.url })
            for _, text in ipairs { "CREATE TABLE site (id integer)",
                "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
                "INSERT INTO alembic_version VALUES ('aaaa')" } do
                assert(connection:query(text))
            end
            connection:close()
            local before = tables_of(server.url)
            local dir = application(inspecting(), online_only[driver])
            -- Neither pg_dump nor psql.
            local env = { PATH = dir }
            -- It looked at a table that has no such column yet.
            assert.matches("ADD COLUMN", is_known(migrations.plan { dir = dir, database = url,
                env = env }, "read-only"), 1, true)
            assert.equal(before, tables_of(server.url))
            local record = run.execute({ name = "test", root = dir, plan = true }, function()
                migrations.upgrade { dir = dir, database = url, env = env }
            end)
            assert.matches("so they may differ", record.notes[1].text, 1, true)
            assert.equal(before, tables_of(server.url))
        end)
    end

    ---A computer whose PostgreSQL cannot make a server, with one where the database is.
    local function without_own_server()
        local server = postgres.start()
        local dir = application(inspecting())
        assert(fs.mkdir(dir / "bin"))
        assert(fs.write(dir / "bin/initdb", "#!/bin/sh\nexit 1\n", { mode = "0755" }))
        return server, { dir = dir, database = server.url,
            env = { PATH = dir / "bin:" .. os.getenv "PATH" } }
    end

    local function databases_of(server)
        local connection = assert(require("host.postgres").connect { url = server.url })
        local rows = assert(connection:query [[SELECT string_agg(datname, ' ' ORDER BY datname)
            AS names FROM pg_database WHERE NOT datistemplate]])
        connection:close()
        return rows[1].names
    end

    it("comes from a database on the same server, which goes again", function()
        local server, opts = without_own_server()
        assert.not_matches("ADD COLUMN", is_known(migrations.plan(opts), "copy"))
        assert.equal("", tables_of(server.url))
        assert.equal("postgres", databases_of(server))
    end)

    it("comes from no other database where the role may not create one", function()
        local server, opts = without_own_server()
        local connection = assert(require("host.postgres").connect { url = server.url })
        for _, text in ipairs { "CREATE ROLE app LOGIN", "CREATE TABLE site (id integer)",
            "GRANT ALL ON site TO app",
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('aaaa')",
            "GRANT ALL ON alembic_version TO app" } do
            assert(connection:query(text))
        end
        connection:close()
        opts.database = server.url:gsub("dgrun@", "app@")
        is_known(migrations.plan(opts), "read-only")
        assert.equal("postgres", databases_of(server))
    end)

    it("removes the databases and the folders that killed plans left an hour ago", function()
        local server, opts = without_own_server()
        local scratch = opts.dir / "scratch"
        local young = ("dgrun_plan_%d_0123abcd"):format(time.wall())
        local connection = assert(require("host.postgres").connect { url = server.url })
        for _, name in ipairs { "dgrun_plan_1700000000_0123abcd", young, "dgrun_plan_mine" } do
            assert(connection:query("CREATE DATABASE " .. name))
        end
        connection:close()
        for _, name in ipairs { "dgrun-plan-dead", "dgrun-plan-young", "mine" } do
            assert(fs.mkdir(scratch / name, { parents = true }))
            assert(fs.write(scratch / name / "lock", ""))
        end
        assert(require("host.proc").run { argv = { "touch", "-d", "1 hour ago",
            scratch / "dgrun-plan-dead", scratch / "mine" } }.status == 0)
        opts.env.TMPDIR = scratch
        is_known(migrations.plan(opts), "copy")
        assert.equal(young .. " dgrun_plan_mine postgres", databases_of(server))
        assert.same({ "dgrun-plan-young", "mine" }, fs.list(scratch))
    end)

    it("comes from a copy of an SQLite file", function()
        local dir = application(inspecting())
        local scratch = dir / "scratch"
        assert(fs.mkdir(scratch))
        local function database()
            return { dir = dir, database = "sqlite:///app.db", env = { TMPDIR = scratch } }
        end
        assert.is_nil(run.execute({ name = "test", root = dir }, function()
            local opts = database()
            opts.target = "aaaa"
            migrations.upgrade(opts)
        end).error)
        local before = fs.read(dir / "app.db")
        assert.not_matches("ADD COLUMN", is_known(migrations.plan(database()), "copy"))
        assert.equal(before, fs.read(dir / "app.db"))
        assert.same({}, fs.list(scratch))
    end)

    it("is rendered beside a local folder alembic/, whatever env.py prints", function()
        local files = app.files(two)
        files["alembic/__init__.py"] = "raise SystemExit('the wrong alembic')"
        files["migrations/env.py"] = 'print("{ not JSON")\n' .. files["migrations/env.py"]
        local dir = project.make(files)
        local plan = migrations.plan { dir = dir, database = "sqlite:///app.db",
            env = { PYTHONPATH = "." } }
        assert.matches("CREATE TABLE site", plan.pending[1].sql, 1, true)
    end)

    it("says why where env.py fails", function()
        local dir = application(two, "raise RuntimeError('no such setting')\n")
        local plan = migrations.plan { dir = dir, database = "sqlite:///app.db" }
        assert.equal("RuntimeError: no such setting", plan.pending[1].sql_error)
        -- The files can be judged all the same.
        assert.same({ "source", "additive" }, { plan.pending[1].sql_from, plan.class })
    end)

    it("is judged by the source where nothing else gives it", function()
        local dir = application({
            ["a.py"] = app.revision("aaaa", nil, 'op.create_table("site", sa.Column("id"))'),
            ["b.py"] = app.revision("bbbb", "aaaa", 'op.drop_table("old")'),
            ["c.py"] = app.revision("cccc", "bbbb", "op.execute(open('x.sql').read())"),
        }, "raise RuntimeError('no such setting')\n")
        local plan = migrations.plan { dir = dir, database = "sqlite:///app.db" }
        local a, b, c = unpack(plan.pending)
        assert.same({ "additive", "destructive", "unknown" }, { a.class, b.class, c.class })
        assert.matches("DROP TABLE old", b.sql, 1, true)
        assert.same({ "ban-drop-table", b.file }, { b.findings[1].rule, b.findings[1].file })
        assert.same({ nil, "unread" }, { c.sql, c.findings[1].rule })
        assert(fs.mkdir(dir / ".venv/bin", { parents = true }))
        assert(fs.write(dir / ".venv/bin/python", "#!/bin/sh\nexit 1\n", { mode = "0700" }))
        plan = migrations.plan { dir = dir, database = "sqlite:///app.db" }
        assert.same({ "unknown", "unread" }, { plan.class, plan.pending[2].findings[1].rule })
    end)
end)
