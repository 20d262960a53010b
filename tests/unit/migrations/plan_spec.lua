-- What an upgrade would do, told beforehand: the sample's migrations and dangerous ones, rendered
-- by the real Alembic.
local fs = require "host.fs"
local migrations = require "dgrun.migrations"
local postgres = require "support.postgres"
local project = require "support.project"
local repository = require "support.repository"
local run = require "dgrun.run"
local until_true = require("support.wait").until_true
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local env_py = [[
import os
from alembic import context
from sqlalchemy import create_engine

url = os.environ["DATABASE_URL"]
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url).connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
]]

local function revision(id, down, body, head)
    return ([[
%s
"""change %s"""
import sqlalchemy as sa
from alembic import op
revision = "%s"
down_revision = %s
branch_labels = None
depends_on = None

def upgrade():
    %s

def downgrade():
    pass
]]):format(head or "", id, id, down and '"' .. down .. '"' or "None", body)
end

local function application(more)
    local files = {
        ["alembic.ini"] = "[alembic]\nscript_location = migrations\n",
        ["migrations/env.py"] = env_py, ["migrations/script.py.mako"] = "",
        ["migrations/versions/a.py"] = revision("aaaa", nil,
            'op.create_table("site", sa.Column("id", sa.Integer), sa.Column("name", sa.Text))'),
    }
    for name, text in pairs(more or {}) do
        files["migrations/versions/" .. name] = text
    end
    return project.make(files)
end

local function rules_of(planned)
    local list = {}
    for i, finding in ipairs(planned.findings) do
        list[i] = finding.rule
    end
    return " " .. table.concat(list, " ") .. " "
end

describe("the plan of an upgrade", function()
    it("has the pending revisions with SQL, hazards and class", function()
        local server = postgres.start()
        local dir = application()
        local function upgrade()
            return run.execute({ name = "test", root = dir }, function()
                migrations.upgrade { dir = dir, database = server.url }
            end)
        end
        assert.is_nil(upgrade().error)
        for name, text in pairs {
            ["b.py"] = revision("bbbb", "aaaa", 'op.create_index("by_name", "site", ["name"])'),
            ["c.py"] = revision("cccc", "bbbb", 'op.drop_column("site", "name")'),
            ["d.py"] = revision("dddd", "cccc",
                'op.create_table("more", sa.Column("id", sa.Integer)); '
                .. 'op.create_index("by_id", "more", ["id"])'),
        } do
            assert(fs.write(dir / "migrations/versions" / name, text))
        end
        repository.git(dir, { "init", "-q", "-b", "main" })
        local commit = repository.commit(dir, {})
        local plan = migrations.plan { dir = dir, database = server.url, lock_timeout = "10s",
            repository = dir }
        assert.same({ "aaaa" }, plan.current)
        assert.same({ "dddd" }, plan.heads)
        assert.equal("destructive", plan.class)
        local b, c, d = unpack(plan.pending)
        assert.same({ "bbbb", "cccc", "dddd" }, { b.revision, c.revision, d.revision })
        assert.matches("CREATE INDEX by_name ON site", b.sql, 1, true)
        assert.matches("require%-concurrent%-index%-creation", rules_of(b))
        assert.equal("destructive", c.class)
        assert.matches("drop%-column", rules_of(c))
        -- A table of the same upgrade is nobody's yet.
        assert.equal("additive", d.class)
        assert.equal("  ", rules_of(d))
        assert.equal("change bbbb", b.message)
        assert.same({ "Ada Author", commit }, { b.author, b.commit })
    end)

    it("keeps what is accepted, with its reason", function()
        local server = postgres.start()
        local dir = application {
            ["b.py"] = revision("bbbb", "aaaa", 'op.drop_column("site", "name")',
                "# dgrun: accept drop-column: nothing reads it since v1"),
        }
        assert.is_nil(run.execute({ name = "test", root = dir }, function()
            migrations.upgrade { dir = dir, database = server.url, target = "aaaa" }
        end).error)
        local plan = migrations.plan { dir = dir, database = server.url, lock_timeout = "1s" }
        assert.equal("nothing reads it since v1", plan.pending[1].findings[1].accepted)
    end)

    it("says which revision cannot be known, and goes on with the others", function()
        local server = postgres.start()
        local dir = application {
            ["b.py"] = revision("bbbb", "aaaa",
                'raise RuntimeError("not today")'),
            ["c.py"] = revision("cccc", "bbbb", 'op.execute("SELECT 2")'),
        }
        local plan = migrations.plan { dir = dir, database = server.url, lock_timeout = "1s" }
        assert.equal(3, #plan.pending)
        assert.equal("RuntimeError: not today", plan.pending[2].sql_error)
        assert.equal("unknown", plan.pending[2].class)
        assert.matches("SELECT 2", plan.pending[3].sql, 1, true)
    end)

    it("is empty where nothing is pending, and told by dgrun plan where there is", function()
        local server = postgres.start()
        local dir = application()
        local record = run.execute({ name = "test", root = dir, plan = true }, function()
            migrations.upgrade { dir = dir, database = server.url }
        end)
        assert.is_nil(record.error, tostring(record.error))
        assert.is_nil(run.execute({ name = "test", root = dir }, function()
            migrations.upgrade { dir = dir, database = server.url }
        end).error)
        local plan = migrations.plan { dir = dir, database = server.url }
        assert.same({ {}, "none" }, { plan.pending, plan.class })
        assert(fs.write(dir / "migrations/versions/b.py",
            revision("bbbb", "aaaa", 'op.drop_table("site")')))
        record = run.execute({ name = "test", root = dir, plan = true }, function()
            migrations.upgrade { dir = dir, database = server.url, lock_timeout = "1s" }
        end)
        assert.matches("bbbb: DROP TABLE site %(ban%-drop%-table%): its data is lost",
            record.notes[1].text)
    end)
end)

describe("saying where a database is", function()
    it("is an effect, and converges", function()
        local server = postgres.start()
        local dir = application { ["b.py"] = revision("bbbb", "aaaa", "pass") }
        local function stamp(target)
            return run.execute({ name = "test", root = dir }, function()
                return migrations.stamp { dir = dir, database = server.url, target = target }
            end)
        end
        local record = stamp()
        assert.is_nil(record.error, tostring(record.error))
        assert.same({ from = {}, to = { "bbbb" } }, record.result)
        assert.same({ "bbbb" }, migrations.current { database = server.url })
        assert.equal(0, #stamp().effects)
        assert.equal(1, #stamp("aaaa").effects)
        assert.same({ "aaaa" }, migrations.current { database = server.url })
    end)
end)

describe("an upgrade by a step", function()
    it("goes one on, also to the head", function()
        local server = postgres.start()
        local dir = application { ["b.py"] = revision("bbbb", "aaaa", "pass") }
        local function step()
            return run.execute({ name = "test", root = dir }, function()
                return migrations.upgrade { dir = dir, database = server.url, target = "+1" }
            end)
        end
        for _, id in ipairs { "aaaa", "bbbb" } do
            local record = step()
            assert.is_nil(record.error, tostring(record.error))
            assert.same({ id }, record.result.applied)
        end
        assert.equal("migrations.too_far", step().error.code)
    end)
end)

describe("a downgrade", function()
    it("undoes revisions, says which, and converges", function()
        local server = postgres.start()
        local dir = application { ["b.py"] = revision("bbbb", "aaaa", "pass"),
            ["c.py"] = revision("cccc", "bbbb", "pass") }
        local function go(verb, target, plan)
            return run.execute({ name = "test", root = dir, plan = plan or false }, function()
                return migrations[verb] { dir = dir, database = server.url, target = target }
            end)
        end
        assert.is_nil(go("upgrade").error)
        local plan = go("downgrade", "aaaa", true)
        assert.same({ "cccc", "bbbb" }, plan.result.undone)
        assert.equal("undo 2 revisions", plan.effects[1].summary)
        assert.same({ "cccc" }, migrations.current { database = server.url })
        assert.same({ from = { "cccc" }, to = { "bbbb" }, undone = { "cccc" } },
            go("downgrade", "-1").result)
        assert.same({ "bbbb", "aaaa" }, go("downgrade", "base").result.undone)
        local nothing = go("downgrade", "base")
        assert.equal(0, #nothing.effects)
        assert.equal("input.missing", go("downgrade").error.code)
    end)

    it("is refused when another one moved the database while it waited", function()
        require("dgrun.migrations.lock").poll = 0.05
        local server = postgres.start()
        local dir = application { ["b.py"] = revision("bbbb", "aaaa", "pass"),
            ["c.py"] = revision("cccc", "bbbb", "pass") }
        local waits
        local observer = { waiting = function(_, text) waits = text end }
        local function back()
            return run.execute({ name = "test", root = dir, observer = observer }, function()
                return migrations.downgrade { dir = dir, database = server.url, target = "-1" }
            end)
        end
        assert.is_nil(run.execute({ name = "test", root = dir }, function()
            migrations.upgrade { dir = dir, database = server.url }
        end).error)
        local other = assert(require("host.postgres").connect { url = server.url })
        assert(other:query [[INSERT INTO dgrun.migration_lease VALUES
            (1, 'r', 'somebody', now(), now() + interval '1 hour')]])
        local waiting = require("host.task").spawn(back)
        until_true(function() return waits end)
        assert.matches("somebody.* has been migrating the database", waits)
        assert(other:query "UPDATE alembic_version SET version_num = 'bbbb'")
        assert(other:query "DELETE FROM dgrun.migration_lease")
        other:close()
        local _, record = waiting:join()
        assert.equal("refused.database_moved", record.error.code)
        assert.same({ "bbbb" }, migrations.current { database = server.url })
    end)

    it("says what is undone and what is not when one fails", function()
        local server = postgres.start()
        local dir = application { ["b.py"] = revision("bbbb", "aaaa", "pass"),
            ["c.py"] = revision("cccc", "bbbb", "pass") }
        local text = assert(fs.read(dir / "migrations/versions/b.py"))
        assert(fs.write(dir / "migrations/versions/b.py",
            (text:gsub("def downgrade%(%):\n    pass",
                'def downgrade():\n    op.execute("SELECT 1/0")'))))
        local function go(verb, target)
            return run.execute({ name = "test", root = dir }, function()
                return migrations[verb] { dir = dir, database = server.url, target = target }
            end)
        end
        assert.is_nil(go("upgrade").error)
        local e = go("downgrade", "base").error
        assert.equal("migrations.failed", e.code)
        assert.matches("Undone: cccc. Still applied: bbbb, aaaa", e.msg, 1, true)
    end)
end)

describe("migrations by another command", function()
    it("run when there is something to do, with the timeouts", function()
        local server = postgres.start()
        local dir = project.make { ["m.py"] = [[
import os, sys, psycopg2
connection = psycopg2.connect(os.environ["DATABASE_URL"])
cursor = connection.cursor()
cursor.execute("CREATE TABLE IF NOT EXISTS done AS SELECT current_setting('lock_timeout') AS t")
connection.commit()
]], ["check.py"] = [[
import os, sys, psycopg2
cursor = psycopg2.connect(os.environ["DATABASE_URL"]).cursor()
cursor.execute("SELECT to_regclass('done')")
sys.exit(0 if cursor.fetchone()[0] else 1)
]] }
        local function migrate(argv)
            return run.execute({ name = "test", root = dir }, function()
                return migrations.command { argv = argv or { "/usr/bin/python3", "m.py" },
                    dir = dir, database = server.url, lock_timeout = "700ms",
                    pending = { "/usr/bin/python3", "check.py" } }
            end)
        end
        local failed = migrate { "/usr/bin/python3", "-c", "raise SystemExit('no way')" }
        assert.equal("migrations.failed", failed.error.code)
        assert.matches("no way", failed.error.msg)
        assert.is_true(migrate().result.ran)
        local connection = assert(require("host.postgres").connect { url = server.url })
        assert.same({ { t = "700ms" } }, connection:query "SELECT t FROM done")
        connection:close()
        assert.is_false(migrate().result.ran)
    end)
end)
