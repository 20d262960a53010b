-- The end of dgrun: no handle, no child and no file is left, whatever it did and however it ends.
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"
local waits = require "support.waits"
local time = require "host.time"
local until_true = require("support.wait").until_true

-- It is about the world outside of the process, which does not jump.
before_each(function() time.pause(false) end)

local binary = fs.real "/proc/self/exe"

---What a script may have open when it ends. Some stand in package.loaded: they live to the end.
local openings = {
    { "nothing", "" },
    { "a timer", [[daemon(function() require("host.time").sleep(600) end)]] },
    { "a request", [[daemon(function() require("host.http").request { url = silent } end)]] },
    { "a stream", [[
        package.loaded.stream = assert(require("host.http").stream { url = half })
        package.loaded.stream:read()]] },
    { "a stream that is read", [[
        package.loaded.stream = assert(require("host.http").stream { url = half })
        daemon(function() while package.loaded.stream:read() do end end)]] },
    { "a kept connection", [[
        local server = assert(require("host.server").listen {})
        daemon(function() server:accept():reply { status = 200, body = "x" } end)
        assert(require("host.http").request {
            url = "http://127.0.0.1:" .. server:port() .. "/" })
        server:close()]] },
    { "a server", [[package.loaded.server = assert(require("host.server").listen {})]] },
    { "a server that waits", [[
        daemon(function() require("host.server").listen({}):accept() end)]] },
    { "a request without an answer", [[
        local server = assert(require("host.server").listen {})
        daemon(function()
            require("host.http").request { url = "http://127.0.0.1:" .. server:port() .. "/" }
        end)
        package.loaded.request = assert(server:accept())]] },
    { "a child", [[
        package.loaded.child = require("host.proc").spawn { argv = { "sleep", "600" } }]] },
    { "a child that is waited for", [[
        daemon(function() require("host.proc").run { argv = { "sleep", "600" } } end)]] },
    { "a child that ignores SIGTERM", [[
        package.loaded.child = require("host.proc").spawn { grace = 0.2,
            argv = { "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done" } }
        package.loaded.child:read()]] },
    { "a database", [[
        package.loaded.db = assert(require("host.sqlite").open(dir .. "/a.db"))
        assert(package.loaded.db:exec "CREATE TABLE IF NOT EXISTS t(a)")]] },
    { "a statement", [[
        local db = assert(require("host.sqlite").open(dir .. "/a.db"))
        daemon(function() db:query(endless) end)
        daemon(function() db:query(endless) end)]] },
    { "a connection that is made", [[
        daemon(function()
            require("host.postgres").connect { url = silent:gsub("http", "postgresql") }
        end)]] },
    { "a lock", [[package.loaded.lock = assert(require("host.fs").lock(dir .. "/lock"))]] },
    { "a task", [[
        local other = daemon(function() require("host.time").sleep(600) end)
        daemon(function() other:join() end)]] },
}

local head = [[
local dir, silent, half, endless = %q, %q, %q, %q
local host_task = require "host.task"
local function daemon(f)
    return host_task.spawn(f, { daemon = true })
end
%s
require("host.time").sleep(0.02)
print "ready"
require("host.log").flush()
]]

local endings = {
    { "its end", "", 0 },
    { "an error", "error 'boom'", 1 },
    { "a signal", "require('dgrun.core.task').sleep(600)", 143 },
    { "an error of a child", "require('dgrun.core.task').all { function() error 'boom' end }", 1 },
    { "a deadlock", [[
        local a, b
        a = host_task.spawn(function() return b:join() end)
        b = host_task.spawn(function() return a:join() end)
        a:join()]], 1, only = "nothing" },
}

---Runs a script to its end: its status, and all it said.
local function ended(code, signal, env)
    env = env or {}
    env.DGRUN_DEBUG = "1"
    local child = assert(proc.spawn { argv = { binary, "-e", code }, env = env })
    local lines = {}
    local exit = task.timeout(20, function()
        for item in function() return child:read() end do
            lines[#lines + 1] = item.line
            if signal and item.line == "ready" then
                child:kill(signal)
            end
        end
        return child:wait()
    end)
    child:stop()
    return exit.status, table.concat(lines, "\n")
end

describe("the end of dgrun", function()
    for _, ending in ipairs(endings) do
        local how, code, status = unpack(ending)
        for _, opening in ipairs(openings) do
            if not ending.only or ending.only == opening[1] then
                it(("by %s leaves no handle of %s"):format(how, opening[1]), function()
                    local dir = assert(fs.temp_dir "exit-")
                    task.defer(function() fs.remove(dir, { recursive = true }) end)
                    local silent, half = "", ""
                    if opening[2]:find "silent" then
                        silent = ("http://127.0.0.1:%d/"):format((waits.listener ""))
                    elseif opening[2]:find "half" then
                        half = ("http://127.0.0.1:%d/"):format((waits.listener(waits.half)))
                    end
                    local script = head:format(dir, silent, half, waits.endless, opening[2]) .. code
                    local got, all = ended(script, status == 143 and "TERM" or nil)
                    assert.equal(status, got, all)
                    assert.matches("\nready\n", "\n" .. all .. "\n", 1, true)
                    assert.is_nil(all:find("event=open_handle", 1, true), all)
                end)
            end
        end
    end
end)

describe("a second signal", function()
    ---Two signals to a script that has the children: its status. Their ids are the first lines.
    local function twice(script, count)
        local child = assert(proc.spawn { argv = { binary, "-e", script },
            env = { DGRUN_DEBUG = false } })
        task.defer(function() child:stop() end)
        local pids = {}
        while #pids < count do
            pids[#pids + 1] = assert(tonumber(child:read().line))
        end
        assert.equal("ready", child:read().line)
        child:kill "INT"
        task.sleep(0.2)
        for _, pid in ipairs(pids) do
            assert.is_true(waits.alive(pid))
        end
        child:kill "TERM"
        local status = task.timeout(5, function() return child:wait() end).status
        until_true(function()
            for _, pid in ipairs(pids) do
                if waits.alive(pid) then
                    return false
                end
            end
            return true
        end)
        return status
    end

    local children = [[
        local host, log, task = require "host.proc", require "host.log", require "dgrun.core.task"
        local function child(script)
            local one = assert(host.spawn { argv = { "sh", "-c", script } })
            package.loaded[one] = one
            print(one:read().line)
            return one
        end
        local sleeper = child "echo $$; exec sleep 60"
        child "trap '' TERM INT; echo $$; while :; do sleep 1; done"
        child "sleep 60 & echo $!; exit" -- a group without its leader
        %s
    ]]

    it("ends at once a task that is shielded, and its children", function()
        assert.equal(143, twice(children:format [[
            task.shield(function()
                print "ready"
                log.flush()
                sleeper:wait()
            end)]], 3))
    end)

    it("ends at once a script that computes for ever", function()
        assert.equal(143, twice(children:format [[
            print "ready"
            log.flush()
            while true do end]], 3))
    end)

    it("ends at once a cleanup that hangs", function()
        assert.equal(143, twice(children:format [[
            task.scope(function()
                task.defer(function() task.sleep(60) end)
                print "ready"
                log.flush()
                task.sleep(60)
            end)]], 3))
    end)

    it("ends at once an end that waits for its children", function()
        assert.equal(143, twice([[
            local host, log = require "host.proc", require "host.log"
            local one = assert(host.spawn { grace = 60, argv = { "sh", "-c",
                "trap '' TERM; echo $$; while :; do sleep 1; done" } })
            package.loaded[one] = one
            print(one:read().line)
            print "ready"
            log.flush()
            require("host.time").sleep(60)]], 1))
    end)
end)

describe("a signal", function()
    it("ends a script that catches every error, after its cleanup", function()
        local status, all = ended([[
            local task = require "dgrun.core.task"
            task.scope(function()
                task.defer(function()
                    task.sleep(0.01)
                    print "cleaned"
                end)
                task.spawn(function()
                    task.defer(function() print "child cleaned" end)
                    task.sleep(600)
                end)
                print "ready"
                require("host.log").flush()
                while true do pcall(task.sleep, 600) end
            end)]], "INT")
        assert.equal(130, status, all)
        assert.matches("\nchild cleaned\n.*cleaned\n", all .. "\n")
    end)

    it("is heard while tasks make each other ready without end", function()
        local status, all = ended([[
            local host_task = require "host.task"
            local done = host_task.spawn(function() end)
            done:join()
            print "ready"
            require("host.log").flush()
            repeat until not done:join()
            assert(host_task.signal() == 15)
            error "ended"]], "TERM")
        assert.equal(143, status, all)
    end)
end)

describe("a name that is looked up for ever", function()
    local preload = [[
        #include <netdb.h>
        #include <unistd.h>
        int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                        struct addrinfo **result)
        {
            (void)node, (void)service, (void)hints, (void)result;
            sleep(600);
            return EAI_AGAIN;
        }
    ]]

    it("holds up neither its task nor the end", function()
        local dir = assert(fs.temp_dir "exit-")
        task.defer(function() fs.remove(dir, { recursive = true }) end)
        local library = dir / "lookup.so"
        local made = proc.run { argv = { "cc", "-shared", "-fPIC", "-o", library, "-xc", "-" },
            stdin = preload }
        if not made or made.status ~= 0 then
            return pending "needs a C compiler"
        end
        local status, all = ended([[
            local task = require "dgrun.core.task"
            local check = require "dgrun.core.check"
            local function told(f)
                local ok, e = pcall(task.timeout, 0.1, function() return check(f()) end)
                print(ok, type(e) == "table" and e.code or e)
            end
            told(function() return require("host.http").request { url = "http://some.where/" } end)
            told(function()
                return require("host.http").request { url = "http://some.where/", timeout = 0.01 }
            end)
            told(function()
                return require("host.postgres").connect { url = "postgresql://some.where/x" }
            end)]], nil, { LD_PRELOAD = library, ASAN_OPTIONS = "verify_asan_link_order=0" })
        assert.equal(0, status, all)
        local codes = {}
        for code in all:gmatch "false\t([%w.]+)" do
            codes[#codes + 1] = code
        end
        assert.same({ "timeout", "http.timeout", "timeout" }, codes, all)
    end)
end)
