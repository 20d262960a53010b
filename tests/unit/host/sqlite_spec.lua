local fs = require "host.fs"
local sqlite = require "host.sqlite"
local task = require "dgrun.core.task"

local function with_database(body)
    local dir = assert(fs.temp_dir("sqlite"))
    local db = assert(sqlite.open(dir / "a.db"))
    local ok, e = pcall(body, db, dir / "a.db")
    db:close()
    fs.remove(dir, { recursive = true })
    if not ok then
        error(e, 0)
    end
end

describe("host.sqlite", function()
    it("binds parameters and gives rows", function()
        with_database(function(db, path)
            assert(db:exec("CREATE TABLE t(a, b)"))
            local done = assert(db:exec("INSERT INTO t VALUES (?, ?), (?, ?)",
                { 1, "x'; DROP TABLE t; --", true, require("dgrun.core.json").null }))
            assert.equal(2, done.changes)
            assert.same({ { a = 1, b = "x'; DROP TABLE t; --" }, { a = 1 } },
                db:query("SELECT * FROM t"))
            assert.equal(384, fs.stat(path).mode) -- 0600
        end)
    end)

    it("tells failures apart", function()
        with_database(function(db, path)
            assert(db:exec("CREATE TABLE t(a UNIQUE)"))
            assert(db:exec("INSERT INTO t VALUES (1)"))
            local _, e = db:exec("INSERT INTO t VALUES (1)")
            assert.equal("sqlite.constraint", e.code)
            _, e = db:query("SELEC 1")
            assert.equal("sqlite.failed", e.code)
            assert.matches("syntax error", e.msg)
            local reader = assert(sqlite.open(path, { read_only = true }))
            _, e = reader:exec("DELETE FROM t")
            assert.equal("sqlite.read_only", e.code)
            reader:close()
            _, e = sqlite.open("/nosuch/a.db")
            assert.equal("sqlite.open", e.code)
        end)
    end)

    it("has many waiters on a connection, one at a time", function()
        with_database(function(db)
            assert(db:exec("CREATE TABLE t(a)"))
            local list = {}
            for i = 1, 50 do
                list[i] = i
            end
            task.map(list, {}, function(i) assert(db:exec("INSERT INTO t VALUES (?)", { i })) end)
            assert.equal(50, db:query("SELECT count(*) AS n FROM t")[1].n)
        end)
    end)

    it("keeps statements for their next use", function()
        with_database(function(db, path)
            local other = assert(sqlite.open(path))
            assert(db:exec("CREATE TABLE t(a UNIQUE, b)"))
            for round = 1, 3 do
                for i = 1, 20 do
                    local sql = ("INSERT INTO t VALUES (?, ? || '%d')"):format(i)
                    assert(db:exec(sql, { round * 100 + i, "x" }))
                end
            end
            local insert = "INSERT INTO t VALUES (?, ?)"
            local search = "SELECT * FROM t WHERE a >= ? ORDER BY a"
            for _ = 1, 2 do
                local _, e = db:exec(insert, { 101, 1 })
                assert.equal("sqlite.constraint", e.code)
                assert.matches("UNIQUE", e.msg)
            end
            assert(db:exec(insert, { 999, "last" }))
            assert(db:exec(insert, { 998 })) -- NULL, not what was bound before
            assert.same({ { a = 999, b = "last" } }, db:query(search, { 999 }))
            assert.same({ { a = 998 } }, { db:query(search, { 998 })[1] })
            -- Another one changes the table meanwhile.
            assert(other:exec("ALTER TABLE t ADD COLUMN c DEFAULT 7"))
            assert.same({ { a = 999, b = "last", c = 7 } }, db:query(search, { 999 }))
            assert(other:exec("DROP TABLE t"))
            local _, e = db:query(search, { 999 })
            assert.equal("sqlite.failed", e.code)
            assert(other:exec("CREATE TABLE t(z, a)"))
            assert(db:exec(insert, { "z", 1000 }))
            assert.same({ { z = "z", a = 1000 } }, db:query(search, { 999 }))
            other:close()
        end)
    end)

    it("is interrupted by a cancel", function()
        with_database(function(db)
            local ok, e = pcall(task.timeout, 0.05, function()
                return db:query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                    .. "SELECT count(*) FROM n")
            end)
            assert.is_false(ok)
            assert.equal("timeout", e.code)
            assert.equal(1, db:query("SELECT 1 AS one")[1].one)
        end)
    end)
end)
