-- CI cancelled a deploy, and killed it ten seconds later: in the middle of a migration. What it had
-- done by then was neither the old state nor the new one.
local app = require "support.alembic_app"
local fs = require "host.fs"
local postgres = require "support.postgres"
local project = require "support.project"
local scripts = require "support.scripts"
local until_true = require("support.wait").until_true

---A revision of two statements that stand by themselves, as CREATE INDEX CONCURRENTLY must. Between
---them it waits until the test lets it go on.
local revision = app.revision("bbbb", "aaaa", [[
with op.get_context().autocommit_block():
    op.execute("CREATE TABLE team (id int)")
    op.execute("SELECT pg_advisory_lock(7)")
    op.execute("SELECT pg_advisory_unlock(7)")
    op.execute("INSERT INTO told VALUES ('bbbb')")
    op.execute("ALTER TABLE team ADD COLUMN name text")]])

local function pipeline(migrate)
    return [[
local dg = require "dgrun"
require("dgrun.migrations.lock").poll = 0.05
return dg.pipeline {
    description = "Migrate, then deploy",
    inputs = { commit = { required = true } },
    concurrency = { group = "web", when_busy = "supersede" },
    run = function(input)
        dg.step("Migrate", function() ]] .. migrate .. [[ end)
        dg.step("Deploy", function()
            dg.proc.run { argv = { "sh", "-c", "echo " .. input.commit .. " >> deployed" } }
        end)
    end,
}
]]
end

---What the workflow did.
local old_way = pipeline [[dg.proc.run { argv = { "alembic", "upgrade", "head" }, cwd = %q,
    env = { DATABASE_URL = %q }, on_line = dg.log }]]

local with_dgrun = pipeline "dg.migrations.upgrade { dir = %q, database = %q }"

---A database at aaaa, the script of a deploy, and the lock in its way.
local function with_deploy(text, body)
    local server = postgres.start()
    local dir = project.make(app.files { ["b.py"] = revision, ["a.py"] = app.revision("aaaa", nil,
        'op.create_table("told", sa.Column("revision", sa.Text))') })
    local function connect()
        return assert(require("host.postgres").connect { url = server.url })
    end
    local first = scripts.start({ root = dir, env = {} },
        ("require('dgrun').migrations.upgrade { dir = %q, database = %q, target = 'aaaa' }"):format(
            dir, server.url))
    assert.equal(0, first.ended().status, first.text())
    local gate, eyes = connect(), connect()
    assert(gate:query "SELECT pg_advisory_lock(7)")
    local world = { dir = dir }
    function world.query(sql) return assert(eyes:query(sql)) end
    function world.open()
        gate:close()
    end
    function world.deploy(...)
        return scripts.start({ root = dir, env = {} }, text:format(dir, server.url), ...)
    end
    function world.resume(id)
        return scripts.start({ root = dir, env = {} },
            ("require('dgrun').proc.run { argv = { require('host.fs').real '/proc/self/exe', "
                .. "'resume', %q }, on_line = print }"):format(id))
    end
    function world.migrating()
        return world.query [[SELECT pid FROM pg_stat_activity
            WHERE wait_event = 'advisory' AND query LIKE '%pg_advisory_lock(7)%']][1]
    end
    ---Starts a deploy, and waits until it is between the two statements.
    function world.begin(commit)
        local run = world.deploy("--commit", commit)
        until_true(world.migrating)
        return run
    end
    function world.deployed() return fs.read(dir / "deployed") or "" end
    function world.is_whole()
        assert.same({ { version_num = "bbbb" } }, world.query "SELECT * FROM alembic_version")
        assert.same({ { revision = "bbbb" } }, world.query "SELECT revision FROM told")
        assert.same({}, world.query "SELECT name FROM team")
    end
    body(world)
    eyes:close()
end

describe("a deploy was killed ten seconds after it was cancelled:", function()
    it("the old way stops the migration in its middle, and no later deploy gets past it", function()
        with_deploy(old_way, function(world)
            local run = world.begin "one"
            run.kill "SIGINT"
            assert.equal(130, run.ended().status, run.text())
            world.open()
            until_true(function()
                return not world.query [[SELECT 1 FROM pg_stat_activity
                    WHERE query LIKE 'SELECT pg_advisory%lock(7)']][1]
            end)
            -- One half of it is there, and the database says that nothing is.
            assert.same({ { version_num = "aaaa" } }, world.query "SELECT * FROM alembic_version")
            assert.same({}, world.query "SELECT id FROM team")
            local later = world.deploy("--commit", "two")
            assert.equal(1, later.ended().status, later.text())
            assert.matches("already exists", later.text())
            assert.equal("", world.deployed())
        end)
    end)

    it("dgrun ends the migration, stops behind it, and goes on from there", function()
        with_deploy(with_dgrun, function(world)
            local run = world.begin "one"
            run.kill "SIGINT"
            run.said "Stopping: waiting for the migrations, which are never stopped midway"
            assert.is_table(world.migrating())
            world.open()
            assert.equal(130, run.ended().status, run.text())
            world.is_whole()
            assert.equal("", world.deployed())
            local id = run.text():match "dgrun resume (%S+)"
            local resumed = world.resume(id)
            assert.equal(0, resumed.ended().status, resumed.text())
            assert.matches("Migrate  already done", resumed.text(), 1, true)
            assert.equal("one\n", world.deployed())
        end)
    end)

    it("dgrun that is killed all the same is waited for by the next deploy", function()
        with_deploy(with_dgrun, function(world)
            local run = world.begin "one"
            run.kill "SIGINT"
            run.said "Stopping"
            run.kill "SIGKILL"
            assert.equal(9, run.ended().signal)
            -- What it had started goes on by itself.
            assert.is_table(world.migrating())
            local later = world.deploy("--commit", "two")
            later.said "was killed, but its child"
            assert.equal("", world.deployed())
            world.open()
            assert.equal(0, later.ended().status, later.text())
            world.is_whole()
            assert.equal("two\n", world.deployed())
        end)
    end)

    it("a newer deploy takes over at the next safe point, never inside of a migration", function()
        with_deploy(with_dgrun, function(world)
            local older = world.begin "one"
            local newer = world.deploy("--commit", "two")
            older.said "Stopping: waiting for the migrations"
            assert.is_table(world.migrating())
            world.open()
            assert.equal(5, older.ended().status, older.text())
            assert.matches("Superseded", older.text())
            assert.equal(0, newer.ended().status, newer.text())
            world.is_whole()
            assert.equal("two\n", world.deployed())
        end)
    end)
end)
