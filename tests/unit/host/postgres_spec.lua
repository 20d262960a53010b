local pgbouncer = require "support.pgbouncer"
local postgres = require "host.postgres"
local proc = require "host.proc"
local secret = require "host.secret"
local server_of = require "support.postgres"
local task = require "dgrun.core.task"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local function connect(url, read_only)
    return assert(postgres.connect { url = url, read_only = read_only })
end

local function failure_of(connection, sql, parameters)
    local rows, e = connection:query(sql, parameters)
    assert.is_nil(rows)
    return e
end

local function sqlstate(connection, sql)
    local e = failure_of(connection, sql)
    assert.equal("postgres.query", e.code)
    return e.sqlstate
end

---A listener that takes connections and says nothing, for the length of `body(port)`.
local function silence(body)
    local child = assert(proc.spawn { argv = { "/usr/bin/python3", "-c", [[
import signal, socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1], flush=True)
signal.pause()]] } })
    local port = assert(child:read()).line
    local ok, e = pcall(body, port)
    child:kill "SIGKILL"
    while child:read() do task.checkpoint() end
    child:wait()
    if not ok then
        error(e, 0)
    end
end

---What a query that never ends by itself fails with, when `stop` is called meanwhile.
local function interrupted(url, read_only, watch_url, stop)
    local failure
    local connection = connect(url, read_only)
    local child = task.spawn(function()
        failure = failure_of(connection, "SELECT pg_sleep(60)")
    end)
    local watcher = connect(watch_url)
    task.timeout(10, function()
        while #assert(watcher:query [[SELECT 1 FROM pg_stat_activity
                WHERE state = 'active' AND query = 'SELECT pg_sleep(60)']]) == 0 do
            task.sleep(0.01)
        end
    end)
    watcher:close()
    stop()
    child.join()
    -- It is closed already.
    assert.is_false(pcall(connection.query, connection, "SELECT 1"))
    connection:close()
    return failure
end

local function times_out(seconds, f)
    local ok, e = pcall(task.timeout, seconds, f)
    assert.is_false(ok)
    assert.equal("timeout", e.code)
end

---The same for a server and for a pooler before it.
local function refuses_writes(url)
    local writer = connect(url)
    assert(writer:query "CREATE TABLE t(a int)")
    assert(writer:query [[CREATE FUNCTION writes() RETURNS int LANGUAGE sql
        AS 'INSERT INTO t VALUES (1) RETURNING a']])
    assert(writer:query [[CREATE FUNCTION evades() RETURNS void LANGUAGE plpgsql AS
        'BEGIN SET transaction_read_only = off; INSERT INTO t VALUES (1); END']])

    local reader = connect(url, true)
    for _ = 1, 2 do
        assert.equal("25006", sqlstate(reader, "INSERT INTO t VALUES (1)"))
        assert.equal("25006", sqlstate(reader, "CREATE TABLE u(a int)"))
        assert.equal("25006", sqlstate(reader, "SELECT writes()"))
        assert.equal("25001", sqlstate(reader, "SELECT evades()"))
        -- Neither of these gives the next query a transaction that may write.
        for _, sql in ipairs { "SET TRANSACTION READ WRITE", "COMMIT", "ROLLBACK AND CHAIN",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE" } do
            assert.same({}, reader:query(sql))
            assert.equal("25006", sqlstate(reader, "INSERT INTO t VALUES (1)"))
        end
        assert.same({ { n = "0" } }, reader:query "SELECT count(*) AS n FROM t")
        assert(writer:query "CREATE TABLE u(a int)")
        assert(writer:query "DROP TABLE u")
    end
    reader:close()
    writer:close()
end

describe("host.postgres", function()
    it("queries, binds, and tells errors", function()
        local server = server_of.start()
        for _, read_only in ipairs { false, true } do
            local connection = connect(server.url, read_only)
            assert.same({ { a = "1", b = "x'y" } }, connection:query(
                "SELECT $1::int AS a, $2::text AS b, $3::text AS c",
                { "1", "x'y", require("dgrun.core.json").null }))
            assert.equal("42703", sqlstate(connection, "SELECT nosuch"))
            assert.equal("22012", sqlstate(connection, "SELECT 1 / 0"))
            assert.matches("division by zero", failure_of(connection, "SELECT 1 / 0").msg)
            assert.equal("42601", sqlstate(connection, "SELECT 1; SELECT 2"))
            assert.matches("empty", failure_of(connection, "").msg)
            assert.same({}, connection:query "SELECT 1 WHERE false")
            assert.equal("200000",
                connection:query("SELECT length($1) AS n", { ("x"):rep(200000) })[1].n)
            assert.equal(50000, #connection:query "SELECT generate_series(1, 50000)")
            local e = failure_of(connection, "COPY (SELECT 1) TO STDOUT")
            assert.matches("COPY", e.msg)
            connection:close()
        end
    end)

    it("raises what is wrong use", function()
        local server = server_of.start()
        local connection = connect(server.url)
        for _, parameters in ipairs { { { 1 } }, { { "a\0b" } }, { true } } do
            assert.is_false(pcall(connection.query, connection, "SELECT $1", parameters[1]))
        end
        assert.is_false(pcall(connection.query, connection, "SELECT 1\0"))
        task.all {
            function() assert(connection:query "SELECT pg_sleep(0.1)") end,
            function()
                assert.is_false(pcall(connection.query, connection, "SELECT 1"))
                assert.is_false(pcall(connection.close, connection))
            end,
        }
        assert.same({ { one = "1" } }, connection:query "SELECT 1 AS one")
        connection:close()
    end)

    it("refuses writes on a read-only connection", function()
        refuses_writes(server_of.start().url)
    end)

    it("refuses writes through a pooler in transaction mode", function()
        local pooler = pgbouncer.start(server_of.start())
        refuses_writes(pooler.url)
        -- The way that such a pooler does not take.
        local _, e = postgres.connect {
            url = pooler.url .. "?options=-c%20default_transaction_read_only%3Don" }
        assert.equal("postgres.connect", e.code)
    end)

    it("is cancelled while it queries", function()
        local server = server_of.start()
        for _, url in ipairs { server.url, pgbouncer.start(server).url } do
            for _, read_only in ipairs { false, true } do
                local connection = connect(url, read_only)
                times_out(0.2, function() connection:query "SELECT pg_sleep(60)" end)
                assert.is_false(pcall(connection.query, connection, "SELECT 1"))
                connection:close()
                connection = connect(url, read_only)
                assert.same({ { one = "1" } }, connection:query "SELECT 1 AS one")
                connection:close()
            end
        end
    end)

    it("is cancelled while it connects", function()
        silence(function(port)
            times_out(0.2, function()
                postgres.connect { url = "postgresql://u@127.0.0.1:" .. port .. "/x" }
            end)
        end)
    end)

    it("gives up connecting after the connect_timeout of the URL", function()
        silence(function(port)
            local connection, e = postgres.connect {
                url = "postgresql://u@127.0.0.1:" .. port .. "/x?connect_timeout=1" }
            assert.is_nil(connection)
            assert.equal("postgres.connect", e.code)
            assert.matches("127.0.0.1 did not answer within 1 s", e.msg, 1, true)
        end)
    end)

    it("says why it cannot connect", function()
        local connection, e = postgres.connect {
            url = secret.new("URL", "postgresql://u:pw-canary@127.0.0.1:1/x"),
        }
        assert.is_nil(connection)
        assert.equal("postgres.connect", e.code)
        assert.is_nil(e.msg:find("pw-canary", 1, true))
    end)
end)

describe("host.postgres, when its connection is lost,", function()
    it("says so: the server shuts down", function()
        for _, read_only in ipairs { false, true } do
            local server = server_of.start()
            local e = interrupted(server.url, read_only, server.url, server.stop)
            assert.equal("postgres.lost", e.code)
            assert.equal("57P01", e.sqlstate)
        end
    end)

    it("says so: the server is gone without a word", function()
        local server = server_of.start()
        local e = interrupted(server.url, true, server.url, function() server.stop "SIGQUIT" end)
        assert.equal("postgres.lost", e.code)
        assert.is_nil(e.sqlstate)
    end)

    it("says so: it was idle meanwhile", function()
        local server = server_of.start()
        local connection = connect(server.url, true)
        server.stop()
        assert.equal("postgres.lost", failure_of(connection, "SELECT 1").code)
        connection:close()
    end)

    it("says so: the server behind the pooler shuts down, or the pooler", function()
        local server = server_of.start()
        local pooler = pgbouncer.start(server)
        local e = interrupted(pooler.url, true, server.url, pooler.stop)
        assert.equal("postgres.lost", e.code)
        pooler = pgbouncer.start(server)
        e = interrupted(pooler.url, true, server.url, server.stop)
        assert.equal("postgres.lost", e.code)
    end)
end)

describe("a password", function()
    it("is set by its hash, and is the password then", function()
        local server = server_of.start { password = "admin-pw" }
        local admin = connect(server.url)
        local sealed = secret.new("PW", "hidden-word-1")
        local hash = assert(admin:scram("joe", sealed))
        assert.matches("^SCRAM%-SHA%-256%$4096:", hash)
        assert(admin:query(("CREATE ROLE joe LOGIN PASSWORD '%s'"):format(hash)))
        local function as_joe(password)
            local url = "postgresql://joe:" .. password .. server.url:match("(@.*)$")
            local connection, e = postgres.connect { url = url }
            return connection and connection:close() or connection, e
        end
        assert(as_joe(sealed))
        local _, e = as_joe "other"
        assert.equal("postgres.connect", e.code)
        assert.is_false(pcall(admin.scram, admin, "joe", ""))
        assert.is_false(pcall(admin.scram, admin, "joe", "a\0b"))
        admin:close()
        local none, closed = admin:scram("joe", "x")
        assert.is_nil(none)
        assert.matches("closed", closed.msg)
    end)
end)
