local fs = require "host.fs"
local postgres = require "host.postgres"
local sqlite = require "host.sqlite"
local task = require "dgrun.task"

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
                { 1, "x'; DROP TABLE t; --", true, require("dgrun.json").null }))
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

describe("host.postgres", function()
    it("queries, binds, tells errors, and is cancelled", function()
        local server = require("support.postgres").start()
        local connection = assert(postgres.connect { url = server.url })
        assert.same({ { a = "1", b = "x'y" } },
            connection:query("SELECT $1::int AS a, $2::text AS b, NULL AS c", { "1", "x'y" }))
        local _, e = connection:query("SELECT nosuch")
        assert.equal("postgres.query", e.code)
        assert.equal("42703", e.sqlstate)
        assert.same({}, connection:query("SELECT 1 WHERE false"))
        local ok, failure = pcall(task.timeout, 0.05, function()
            return connection:query("SELECT pg_sleep(60)")
        end)
        assert.is_false(ok)
        assert.equal("timeout", failure.code)
        connection:close()

        local reader = assert(postgres.connect { url = server.url, read_only = true })
        _, e = reader:query("CREATE TABLE t(a int)")
        assert.equal("25006", e.sqlstate)
        reader:close()
    end)

    it("says why it cannot connect", function()
        local connection, e = postgres.connect {
            url = require("host.secret").new("URL", "postgresql://u:pw-canary@127.0.0.1:1/x"),
        }
        assert.is_nil(connection)
        assert.equal("postgres.connect", e.code)
        assert.is_nil(e.msg:find("pw-canary", 1, true))
    end)
end)
