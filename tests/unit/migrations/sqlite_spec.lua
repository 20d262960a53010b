-- Migrations of an SQLite file, by the real Alembic.
local app = require "support.alembic_app"
local fs = require "host.fs"
local migrations = require "dgrun.migrations"
local proc = require "host.proc"
local project = require "support.project"
local run = require "dgrun.run"

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
        assert.matches("app.db: somebody was killed while it was written", plan.stderr, 1, true)
        assert.matches("A run rolls that back by itself", plan.stderr, 1, true)
        local again = assert(proc.run { argv = { binary, "script.lua" }, cwd = dir })
        assert.equal(0, again.status, again.stderr)
    end)
end)
