-- A store in PostgreSQL, when the server or the way to it is not what it was.
local fs = require "host.fs"
local journal = require "dgrun.run.journal"
local pgbouncer = require "support.pgbouncer"
local postgres = require "dgrun.run.store_postgres"
local project = require "support.project"
local run = require "dgrun.run"
local scripts = require "support.scripts"
local server_of = require "support.postgres"
local store_of = require "dgrun.run.store"
local task = require "dgrun.core.task"
local time = require "host.time"
local until_true = require("support.wait").until_true

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local PASSWORD = "pw-canary-7261"

local function patience(seconds)
    local before = postgres.patience
    task.defer(function() postgres.patience = before end)
    postgres.patience = seconds
end

local function open(url)
    local store = store_of.open(project.make { x = "" }, { url = url })
    task.defer(function() store:close() end)
    return store
end

local function terminate_others(url)
    local connection = assert(require("host.postgres").connect { url = url })
    local rows = assert(connection:query [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND backend_type = 'client backend']])
    connection:close()
    return #rows
end

---Everything that is told of an error: to people, by programs, in the journal.
local function told(e)
    local parts = {}
    while e do
        for name, value in pairs(e) do
            parts[#parts + 1] = ("%s=%s"):format(name, tostring(value))
        end
        parts[#parts + 1] = tostring(e)
        e = e.cause
    end
    return table.concat(parts, "\n")
end

---Writes numbers, one after the other, until `stop()`; returns how many were written.
local function writing(store)
    local stopped, count = false, 0
    local child = task.spawn(function()
        while not stopped do
            count = count + 1
            store:kv_put("k" .. count, count)
        end
    end)
    return function()
        stopped = true
        assert(child:join())
        return count
    end, function() return count end
end

local function all_there(url, count)
    local store = open(url)
    assert.equal(count, store:query("SELECT count(*) AS n FROM @kv")[1].n)
end

---By itself and behind a pooler.
local function for_both(body)
    return function()
        local server = server_of.start()
        body(server, server.url)
        local connection = assert(require("host.postgres").connect { url = server.url })
        assert(connection:query "DROP SCHEMA IF EXISTS dgrun CASCADE")
        connection:close()
        body(server, pgbouncer.start(server).url)
    end
end

describe("a store in PostgreSQL", function()
    it("waits for a server that is started again", for_both(function(server, url)
        local stop, count = writing(open(url))
        for _, signal in ipairs { "SIGINT", "SIGQUIT" } do
            local before = count()
            until_true(function() return count() > before + 20 end)
            server.stop(signal)
            before = count()
            task.sleep(0.5)
            assert.is_true(count() - before <= 1)
            server.restart()
            until_true(function() return count() > before + 20 end)
        end
        all_there(url, stop())
    end))

    it("survives the end of its sessions", for_both(function(server, url)
        local stop, count = writing(open(url))
        for _ = 1, 10 do
            local before = count()
            until_true(function() return count() > before + 5 end)
            assert.is_true(terminate_others(server.url) > 0)
        end
        all_there(url, stop())
    end))

    it("survives it while it was idle", function()
        local server = server_of.start()
        local store = open(server.url)
        store:kv_put("a", 1)
        terminate_others(server.url)
        assert.equal(1, store:kv_get "a")
        server.stop()
        server.restart()
        store:kv_put("a", 2)
        assert.equal(2, store:kv_get "a")
    end)

    it("is not asked for ever when the server stays away", for_both(function(server, url)
        local store = open(url)
        store:kv_put("a", 1)
        patience(2)
        server.stop()
        local began = time.now()
        local ok, e = pcall(store.kv_put, store, "a", 2)
        local seconds = time.now() - began
        assert.is_false(ok)
        assert.equal("store.unreachable", e.code)
        -- A pooler takes the connection, and says nothing until the server is there.
        assert.equal(url == server.url and "postgres.connect" or "timeout", e.cause.code)
        assert.is_true(seconds > 0.5)
        assert.matches("127.0.0.1/postgres cannot be reached", e.msg, 1, true)
        server.restart()
        patience(30)
        assert.equal(1, store:kv_get "a")
    end))

    it("is not asked for ever when the server says nothing", function()
        local server = server_of.start()
        local store = open(server.url)
        store:kv_put("a", 1)
        patience(1)
        local pid = assert(fs.read(server.dir / "postmaster.pid")):match "%d+"
        -- All its processes: one that is stopped in the middle neither answers nor hangs up.
        local function all(signal)
            assert(require("host.proc").run { argv = { "pkill", "-" .. signal, "-P", pid } })
            assert(require("host.proc").run { argv = { "kill", "-" .. signal, pid } })
        end
        all "STOP"
        task.defer(function() all "CONT" end)
        local ok, e = pcall(store.kv_put, store, "a", 2)
        assert.is_false(ok)
        assert.equal("store.unreachable", e.code)
        all "CONT"
        patience(30)
        assert.is_truthy(store:kv_get "a")
    end)

    it("keeps a run whose server goes away and comes back", function()
        local server, is_up, over = server_of.start(), true, false
        local operator = task.spawn(function()
            repeat
                until_true(function() return over or not is_up end)
                if not over then
                    task.sleep(0.3)
                    server.restart()
                    is_up = true
                end
            until over
        end)
        local r = run.execute({ name = "test", root = project.make { x = "" } }, function(r)
            store_of.adopt(r, store_of.open(r.root, { url = server.url }))
            journal.run_start(store_of.current(), r)
            for i = 1, 3 do
                run.step("S" .. i, function()
                    require("dgrun.run.effect").write { kind = "x.put", target = "x",
                        summary = "put x", apply = function()
                            until_true(function() return is_up end)
                            server.stop()
                            is_up = false
                        end }
                end)
            end
        end)
        assert.is_nil(r.error)
        local store = open(server.url)
        assert.equal("done", journal.run(store, r.id).status)
        for _, e in ipairs(journal.effects(store, r.id)) do
            assert.equal("done", e.status)
        end
        over = true
        assert(operator:join())
    end)

    it("refuses a statement at once, with the reason", function()
        local store = open(server_of.start().url)
        local ok, e = pcall(store.query, store, "SELECT nosuch FROM @kv")
        assert.is_false(ok)
        assert.equal("store.failed", e.code)
        assert.equal("42703", e.sqlstate)
        assert.matches("nosuch", told(e), 1, true)
        assert.is_nil(store:kv_get "a")
    end)

    it("goes on after a query that was cancelled", function()
        local url = server_of.start().url
        local store = open(url)
        for i = 1, 5 do
            local ok, e = pcall(task.timeout, 0.01, function()
                store:query("SELECT pg_sleep(0.1)")
            end)
            assert.is_false(ok)
            assert.equal("timeout", e.code)
            store:kv_put("a", i)
            assert.equal(i, store:kv_get "a")
        end
    end)

    it("tells a password to nobody", function()
        local server = server_of.start()
        patience(0.5)
        local place = ("%s@127.0.0.1:%d/postgres"):format("dgrun:" .. PASSWORD, server.port)
        local hba = server.dir / "pg_hba.conf"
        local connection = assert(require("host.postgres").connect { url = server.url })
        assert(connection:query "ALTER USER dgrun PASSWORD 'another one'")
        assert(fs.write(hba, "host all all 127.0.0.1/32 scram-sha-256\n", { mode = "0644" }))
        assert(connection:query "SELECT pg_reload_conf()")
        connection:close()
        until_true(function()
            local open_door = require("host.postgres").connect { url = server.url }
            return not open_door or open_door:close()
        end)
        for _, url in ipairs {
            "postgresql://" .. place, "postgresql+asyncpg://" .. place,
            ("postgresql://dgrun@127.0.0.1:%d/postgres?password=%s"):format(server.port, PASSWORD),
            ("postgresql://dgrun:%s@127.0.0.1:1/x"):format(PASSWORD),
            ("postgresql://dgrun:%s@no-such-host.invalid/x"):format(PASSWORD),
            ("postgresql://dgrun:%s@127.0.0.1:99999/x"):format(PASSWORD),
            ("postgresql://dgrun:%s@[::1/x"):format(PASSWORD),
        } do
            local ok, e = pcall(store_of.open, "/nowhere", { url = url })
            assert.is_false(ok)
            assert.is_nil(told(e):find(PASSWORD, 1, true), told(e))
            local child = scripts.start({ root = project.make { x = "" },
                env = { DGRUN_STORE = url } }, [[
                require("dgrun.run.store_postgres").patience = 0.5
                local dg = require "dgrun"
                dg.step("A", function() end)]])
            assert.is_true(child.ended().status ~= 0)
            assert.is_nil(child.text():find(PASSWORD, 1, true), child.text())
        end
    end)

    it("that is only looked into is given up with whoever gives up on it", function()
        patience(1000)
        local ok, e = pcall(task.timeout, 0.2, function()
            store_of.open("/nowhere", { url = "postgresql://x@127.0.0.1:1/x", read_only = true })
        end)
        assert.is_false(ok)
        assert.equal("timeout", e.code)
    end)
end)
