-- Every kind of wait, for the tests of cancels: each would take a minute or more by itself.
local dgrun_proc = require "dgrun.proc"
local fs = require "host.fs"
local host_task = require "host.task"
local http = require "host.http"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local M = {}

---@class support.wait
---@field wait fun(): any, dgrun.err? what a cancel ends, in the way of the host: nil, err
---@field begun? fun(): boolean? does it wait already?
---@field gone? fun(): boolean? is what it held gone?

---Does a process of this id run? A zombie does not.
---@param pid integer|string
function M.alive(pid)
    local status = fs.read(("/proc/%d/stat"):format(pid))
    local state = status and status:match("^%d+ %b() (%a)")
    return state ~= nil and state ~= "Z" and state ~= "X"
end

local function temp_dir()
    local dir = assert(fs.temp_dir "wait-")
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    return dir
end

---A Python script that prints its port: full takes no connection, the others send what they were
---given, "met" when they have read a request, "gone" when the client has hung up.
local peer = [[
import socket, sys, time
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(0)
port = s.getsockname()[1]
if sys.argv[1] == "full":
    clients = [socket.socket() for _ in range(4)]
    for c in clients:
        c.setblocking(False)
        c.connect_ex(("127.0.0.1", port))
    time.sleep(0.05)
    print(port, flush=True)
    time.sleep(600)
print(port, flush=True)
while True:
    c, _ = s.accept()
    c.recv(65536)
    c.sendall(sys.argv[1].encode())
    print("met", flush=True)
    try:
        while c.recv(65536):
            pass
    except OSError:
        pass
    print("gone", flush=True)
]]

---@param says string "full", or what it answers to all
---@return integer port
---@return table<string, integer> # how often it said "met" and "gone"
function M.listener(says)
    local child = assert(proc.spawn { argv = { "python3", "-c", peer, says } })
    local port = tonumber(child:read().line)
    local seen = { met = 0, gone = 0 }
    local reader = host_task.spawn(function()
        for item in function() return child:read() end do
            seen[item.line] = (seen[item.line] or 0) + 1
        end
    end, { daemon = true })
    task.defer(function()
        child:stop()
        reader:join()
    end)
    return port, seen
end

---A wait on a peer that says so little.
---@param wait fun(url: string): any, dgrun.err?
local function on_peer(says, scheme, wait)
    return function()
        local port, seen = M.listener(says)
        return {
            wait = function() return wait(("%s://127.0.0.1:%d/"):format(scheme, port)) end,
            begun = says ~= "full" and function() return seen.met > 0 end or nil,
            gone = function() return seen.gone == seen.met end,
        }
    end
end

local function request(url)
    return http.request { url = url, timeout = 600, connect_timeout = 600 }
end

M.half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789"

---A shell that writes ids of processes into "$1", each of which has to end.
local function shell(script, wait)
    return function()
        local file = temp_dir() / "pids"
        local function pids()
            return (fs.read(file) or ""):match("^(.*)\n$")
        end
        return {
            wait = function()
                return wait { argv = { "sh", "-c", script, "sh", file }, grace = 0.2 }
            end,
            file = file,
            begun = pids,
            gone = function()
                for pid in (pids() or ""):gmatch "%d+" do
                    if M.alive(pid) then
                        return false
                    end
                end
                return true
            end,
        }
    end
end

local leaver = [[
    setsid sh -c 'echo $$ > "$0.left"; echo $PPID > "$0"; exec sleep 600' "$1" & wait]]
local deaf = "trap '' TERM; echo $$ > \"$1\"; while :; do sleep 0.05; done"

---A call of dgrun, which raises, in the way of the host.
local function caught(f)
    local ok, result = pcall(task.scope, f)
    if ok then
        return result
    end
    return nil, result
end

---A wait on a child that a test has for itself.
---@param script string
---@param wait fun(child: host.proc.child): any, dgrun.err?
local function on_child(script, wait)
    return function()
        local child = assert(proc.spawn {
            argv = { "sh", "-c", script }, grace = 0.2, stdin = true,
        })
        task.defer(function() child:stop() end)
        assert(child:read().line == "ready")
        return {
            wait = function() return wait(child) end,
            gone = function() return M.alive(child:pid()) end, -- it is not the wait's own
        }
    end
end

M.endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    .. "SELECT count(*) FROM n"

local function database()
    local sqlite = require "host.sqlite"
    local path = temp_dir() / "a.db"
    local db = assert(sqlite.open(path))
    task.defer(function() db:close() end)
    assert(db:exec "CREATE TABLE t(a)")
    return db, path
end

local function answers(db)
    return function() return db:query("SELECT 1 AS one")[1].one == 1 end
end

local function postgres_query()
    local postgres = require "host.postgres"
    local server = require("support.postgres").start()
    local watcher = assert(postgres.connect { url = server.url })
    task.defer(function() watcher:close() end)
    local function sleepers()
        return tonumber(assert(watcher:query("SELECT count(*) AS n FROM pg_stat_activity "
            .. "WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"))[1].n)
    end
    return {
        wait = function()
            local connection, e = postgres.connect { url = server.url }
            if not connection then
                return nil, e
            end
            return connection:query "SELECT pg_sleep(600)"
        end,
        begun = function() return sleepers() == 1 end,
        gone = function() return sleepers() == 0 end,
    }
end

---Name and maker of each; a maker runs in the test's scope.
---@type {[1]: string, [2]: fun(): support.wait}[]
M.kinds = {
    { "a timer", function()
        return { wait = function() return require("host.time").sleep(600) end }
    end },

    { "HTTP: connecting", on_peer("full", "http", request) },
    { "HTTP: the headers", on_peer("", "http", request) },
    { "HTTP: the rest of the body", on_peer(M.half, "http", request) },
    { "HTTP: the headers of a stream", on_peer("", "http", function(url)
        return http.stream { url = url }
    end) },
    { "HTTP: the next bytes of a stream", on_peer(M.half, "http", function(url)
        local stream, e = http.stream { url = url }
        if not stream then
            return nil, e
        end
        local bytes
        repeat
            bytes, e = stream:read()
        until not bytes
        return nil, e
    end) },
    { "HTTP: the handshake of TLS", on_peer("", "https", request) },

    { "TCP: connecting", on_peer("full", "tcp", function(url)
        return http.connect { host = "127.0.0.1", port = tonumber(url:match ":(%d+)/"),
            timeout = 600 }
    end) },

    { "a child", shell("echo $$ > \"$1\"; exec sleep 600", proc.run) },
    { "a child that ignores SIGTERM", shell(deaf, proc.run) },
    { "a child whose grandchild left the group and keeps the pipe", function()
        local wait = shell(leaver, proc.run)()
        task.defer(function()
            local left = (fs.read(wait.file .. ".left") or ""):match "%d+"
            if left then
                proc.run { argv = { "kill", left } }
            end
        end)
        return wait
    end },
    { "a child whose grandchild ignores SIGTERM",
        shell("(trap '' TERM; sleep 600) & echo $$ $! > \"$1\"; wait", proc.run) },
    { "the lines of a child", shell(deaf, function(opts)
        return caught(function()
            for _ in dgrun_proc.lines(dgrun_proc.spawn(opts)) do end
        end)
    end) },
    { "a child whose lines are told", shell(deaf, function(opts)
        opts.on_line = function() end
        opts.read_only = true
        return caught(function() return dgrun_proc.run(opts) end)
    end) },
    { "a line", on_child("echo ready; sleep 600", function(child) return child:read() end) },
    { "a child's exit", on_child("echo ready; sleep 600", function(child)
        return child:wait()
    end) },
    { "a child's end, when it ignores SIGTERM", function()
        local child = assert(proc.spawn {
            argv = { "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done" },
            grace = 600,
        })
        task.defer(function()
            child:kill "KILL"
            child:stop()
        end)
        assert(child:read().line == "ready")
        return { wait = function() return child:stop() end }
    end },
    { "a child that does not read its input", on_child("echo ready; sleep 600", function(child)
        return child:write(("x"):rep(2 ^ 20))
    end) },

    { "a statement of SQLite", function()
        local db = database()
        return { wait = function() return db:query(M.endless) end, gone = answers(db) }
    end },
    { "a statement of SQLite behind another", function()
        local db = database()
        local first = host_task.spawn(function() return db:query(M.endless) end)
        task.defer(function()
            first:cancel()
            first:join()
        end)
        return { wait = function() return db:exec "INSERT INTO t VALUES (1)" end,
            gone = function()
                first:cancel()
                first:join()
                return #db:query "SELECT * FROM t" == 0
            end }
    end },
    { "a lock of SQLite", function()
        local holder, path = database()
        local db = assert(require("host.sqlite").open(path))
        task.defer(function() db:close() end)
        assert(holder:exec "BEGIN EXCLUSIVE")
        return { wait = function() return db:exec "INSERT INTO t VALUES (1)" end,
            gone = function()
                assert(holder:exec "COMMIT")
                return #db:query "SELECT * FROM t" == 0
            end }
    end },

    { "PostgreSQL: connecting", on_peer("full", "postgresql", function(url)
        return require("host.postgres").connect { url = url }
    end) },
    { "PostgreSQL: the first answer", on_peer("", "postgresql", function(url)
        return require("host.postgres").connect { url = url }
    end) },
    { "PostgreSQL: a query", postgres_query },

    { "another task", function()
        local other = host_task.spawn(function() return require("host.time").sleep(600) end)
        task.defer(function()
            other:cancel()
            other:join()
        end)
        return { wait = function() return other:join() end,
            gone = function() return other:status() == "running" end }
    end },
    { "a task of a task", function()
        return { wait = function()
            return caught(function()
                return task.all { function()
                    task.all { function() task.sleep(600) end }
                end }
            end)
        end }
    end },

    { "a request to a server", function()
        local server = assert(require("host.server").listen {})
        task.defer(function() server:close() end)
        return { wait = function() return server:accept() end,
            gone = function()
                local accepted = host_task.spawn(function() return server:accept() end)
                server:close()
                local _, _, e = accepted:join()
                return e.code == "closed"
            end }
    end },
}

return M
