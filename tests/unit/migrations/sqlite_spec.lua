-- Migrations of an SQLite file, by the real Alembic.
local app = require "support.alembic_app"
local fs = require "host.fs"
local migrations = require "dgrun.migrations"
local proc = require "host.proc"
local project = require "support.project"
local run = require "dgrun.run"
local until_true = require("support.wait").until_true
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local function creates(name)
    return ('op.create_table("%s", sa.Column("id", sa.Integer))'):format(name)
end

local function upgrade(dir, opts)
    local all = { dir = dir, database = "sqlite:///app.db" }
    for name, value in pairs(opts or {}) do
        all[name] = value
    end
    return run.execute({ name = "test", root = dir, plan = all.plan }, function()
        all.plan = nil
        return migrations.upgrade(all)
    end)
end

---A process is killed while it writes the file: what it had begun stands in a hot journal.
local function kill_in_the_middle(dir)
    local result = assert(proc.run { cwd = dir, argv = { "/usr/bin/python3", "-c", [[
import os, sqlite3
db = sqlite3.connect("app.db", isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN")
db.execute("UPDATE alembic_version SET version_num = 'half'")
db.execute("CREATE TABLE big (text)")
for i in range(2000):
    db.execute("INSERT INTO big VALUES (?)", ("x" * 500,))
os.kill(os.getpid(), 9)
]] } })
    assert.equal(9, result.signal)
    assert.is_true(fs.exists(dir / "app.db-journal"))
end

describe("migrations of an SQLite file", function()
    it("go on after a kill in the middle: what was begun is rolled back", function()
        local dir = project.make(app.files {
            ["a.py"] = app.revision("aaaa", nil, creates "a"),
            ["b.py"] = app.revision("bbbb", "aaaa", creates "b"),
        })
        local first = upgrade(dir, { target = "aaaa" })
        assert.is_nil(first.error, tostring(first.error))
        kill_in_the_middle(dir)
        local record = upgrade(dir)
        assert.is_nil(record.error, tostring(record.error))
        assert.same({ from = { "aaaa" }, to = { "bbbb" }, applied = { "bbbb" } }, record.result)
        assert.is_false(fs.exists(dir / "app.db-journal"))
    end)

    it("are applied by one run at a time, and once", function()
        local dir = project.make(app.files {
            ["a.py"] = app.revision("aaaa", nil, 'op.execute("CREATE TABLE told (id INT)")'),
            ["b.py"] = app.revision("bbbb", "aaaa", 'op.execute("INSERT INTO told VALUES (1)")'),
        })
        local scripts = require "support.scripts"
        local runs, told = {}, {}
        for i = 1, 3 do
            runs[i] = scripts.start({ root = dir, env = {} }, [[
                local dg = require "dgrun"
                require("dgrun.migrations.lock").poll = 0.05
                dg.step("Migrate", function()
                    dg.log("applied " .. table.concat(dg.migrations.upgrade {
                        dir = ".", database = "sqlite:///app.db" }.applied, ","))
                end)]])
        end
        for i, script in ipairs(runs) do
            assert.equal(0, script.ended().status, script.text())
            told[i] = script.text()
        end
        local _, count = table.concat(told, "\n"):gsub("applied aaaa,bbbb", "")
        assert.equal(1, count, table.concat(told, "\n"))
        local db = assert(require("host.sqlite").open(dir / "app.db", { create = false }))
        assert.same({ { n = 1 } }, db:query "SELECT count(*) AS n FROM told")
        db:close()
    end)

    it("wait for the end of what a killed run had started", function()
        local dir = project.make(app.files {
            ["a.py"] = app.revision("aaaa", nil, [[
import os, time
op.execute("CREATE TABLE told (id INT)")
open("begun", "w").close()
while not os.path.exists("go on"):
    time.sleep(0.02)
op.execute("INSERT INTO told VALUES (1)")]]) })
        local scripts = require "support.scripts"
        local text = [[
            local dg = require "dgrun"
            require("dgrun.migrations.lock").poll = 0.05
            dg.step("Migrate", function()
                dg.migrations.upgrade { dir = ".", database = "sqlite:///app.db" }
            end)]]
        local first = scripts.start({ root = dir, env = {} }, text)
        until_true(function() return fs.exists(dir / "begun") end)
        first.kill "SIGKILL"
        first.ended()
        local second = scripts.start({ root = dir, env = {} }, text)
        second.said "is still running (pid"
        assert(fs.write(dir / "go on", ""))
        assert.equal(0, second.ended().status, second.text())
        local db = assert(require("host.sqlite").open(dir / "app.db", { create = false }))
        assert.same({ { n = 1 } }, db:query "SELECT count(*) AS n FROM told")
        assert.same({ { version_num = "aaaa" } }, db:query "SELECT * FROM alembic_version")
        db:close()
    end)

    it("are told in a plan that they cannot be read before that", function()
        local dir = project.make(app.files {
            ["a.py"] = app.revision("aaaa", nil, creates "a"),
        })
        assert.is_nil(upgrade(dir).error)
        kill_in_the_middle(dir)
        local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
        assert(fs.write(dir / "script.lua", [[
            require("dgrun").migrations.current { database = "sqlite:///app.db", dir = "." }]]))
        local plan = assert(proc.run { argv = { binary, "plan", "script.lua" }, cwd = dir })
        assert.equal(1, plan.status)
        assert.matches("app.db: a process was killed while writing it", plan.stderr, 1, true)
        assert.matches("A run rolls the transaction back", plan.stderr, 1, true)
        local again = assert(proc.run { argv = { binary, "script.lua" }, cwd = dir })
        assert.equal(0, again.status, again.stderr)
    end)
end)
