-- The SQL of pending revisions by one run of env.py, and that a plan changes no database.
local app = require "support.alembic_app"
local fs = require "host.fs"
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
        end))
        local begun = time.now()
        local plan = migrations.plan { dir = dir, database = server.url }
        assert.is_true(time.now() - begun < 10)
        assert.equal(109, #plan.pending)
        assert.matches("CREATE TABLE t109", plan.pending[109].sql, 1, true)
        assert.matches("^BEGIN;", plan.pending[1].sql)
        assert.matches("INSERT INTO alembic_version", plan.pending[1].sql, 1, true)
        assert.matches("SET version_num='r109'", plan.pending[109].sql, 1, true)
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
        assert.equal("unknown", plan.class)
    end)
end)
