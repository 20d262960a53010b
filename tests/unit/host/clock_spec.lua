local host_task = require "host.task"
local http = require "host.http"
local proc = require "host.proc"
local server_of = require "host.server"
local task = require "dgrun.core.task"
local time = require "host.time"

-- It is about the world outside of the process, which does not jump.
before_each(function() time.pause(false) end)

---Seconds of real time, which no jump moves.
local function real_seconds(f)
    local stat = assert(io.open "/proc/uptime")
    local before = stat:read "*n"
    stat:close()
    f()
    stat = assert(io.open "/proc/uptime")
    local after = stat:read "*n"
    stat:close()
    return after - before
end

---Runs `f` on the paused clock.
---@return number seconds that passed on the clock
---@return number real those of the machine
local function paused(f)
    local before = time.pause(true)
    task.defer(function() time.pause(before) end)
    local began = time.now()
    local real = real_seconds(f)
    local passed = time.now() - began
    time.pause(before)
    return passed, real
end

---A server of this process whose requests are answered by `handle`, each in a task of its own.
local function serve(handle)
    local server = assert(server_of.listen {})
    local loop = host_task.spawn(function()
        for request in function() return server:accept() end do
            host_task.spawn(function() handle(request) end)
        end
    end, { name = "server", daemon = true })
    task.defer(function()
        server:close()
        loop:join()
    end)
    return ("http://127.0.0.1:%d/"):format(server:port())
end

describe("a paused clock", function()
    it("jumps to the end of the shortest sleep, and wall time with it", function()
        local wall = time.wall()
        local order = {}
        local passed, real = paused(function()
            task.all {
                function() time.sleep(7200); order[#order + 1] = "long" end,
                function() time.sleep(60); order[#order + 1] = "short" end,
                function() time.sleep(3600); order[#order + 1] = "middle" end,
            }
        end)
        assert.same({ "short", "middle", "long" }, order)
        assert.is_true(passed >= 7200 and passed < 7205)
        assert.is_true(time.wall() - wall >= 7200)
        assert.is_true(real < 5)
    end)

    it("rings sleeps of the same length in the order in which they began", function()
        local order = {}
        paused(function()
            local list = {}
            for i = 1, 50 do
                list[i] = function() time.sleep(10); order[#order + 1] = i end
            end
            task.all(list)
        end)
        for i = 1, 50 do
            assert.equal(i, order[i])
        end
    end)

    it("keeps the order of 10,000 sleeps, cancels among them", function()
        local woken, random = {}, math.random
        math.randomseed(11)
        paused(function()
            local sleepers = {}
            for i = 1, 10000 do
                local seconds = random(1, 100000)
                sleepers[i] = host_task.spawn(function()
                    local began = time.now()
                    if time.sleep(seconds) then
                        woken[#woken + 1] = began + seconds
                    end
                end)
            end
            time.sleep(0.5)
            for i = 1, 10000, 3 do
                sleepers[i]:cancel()
            end
            for _, sleeper in ipairs(sleepers) do
                sleeper:join()
            end
        end)
        assert.equal(10000 - 3334, #woken)
        for i = 2, #woken do
            assert.is_true(woken[i] >= woken[i - 1])
        end
    end)

    it("ends time limits within each other, the inner one first", function()
        local passed = paused(function()
            local ok, e = pcall(task.timeout, 100, function()
                local inner, reason = pcall(task.timeout, 10, function() time.sleep(1000) end)
                assert.is_false(inner)
                assert.equal("timeout", reason.code)
                time.sleep(1000)
            end)
            assert.is_false(ok)
            assert.equal("timeout", e.code)
        end)
        assert.is_true(passed >= 100 and passed < 110)
    end)

    it("does not jump while a task waits for a child", function()
        local events = {}
        local passed = paused(function()
            task.all {
                function()
                    assert(proc.run { argv = { "sleep", "0.2" } })
                    events[#events + 1] = "child"
                end,
                function() time.sleep(30); events[#events + 1] = "slept" end,
            }
        end)
        assert.same({ "child", "slept" }, events)
        assert.is_true(passed >= 30 and passed < 35)
    end)

    it("jumps while a child runs that no task waits for", function()
        local child = assert(proc.spawn { argv = { "sleep", "60" } })
        local passed, real = paused(function() time.sleep(50) end)
        assert.is_true(passed >= 50)
        assert.is_true(real < 20)
        child:kill "SIGKILL"
        child:wait()
    end)

    it("stops a child at its time limit as ever", function()
        paused(function()
            local result, e = proc.run { argv = { "sleep", "60" }, timeout = 0.1 }
            assert.is_nil(result)
            assert.equal("proc.timeout", e.code)
        end)
    end)

    it("jumps while a client waits for a handler that sleeps", function()
        local passed, real = paused(function()
            local url = serve(function(request)
                time.sleep(55)
                request:reply { status = 200, body = "late" }
            end)
            for _ = 1, 3 do
                local answer = assert(http.request { url = url })
                assert.equal("late", answer.body)
            end
        end)
        assert.is_true(passed >= 165 and passed < 175)
        assert.is_true(real < 20)
    end)

    it("does not jump over a request that is under way", function()
        local answered = {}
        paused(function()
            local url = serve(function(request)
                local seconds = tonumber(request.query.sleep)
                time.sleep(seconds)
                request:reply { status = 200, body = "x" }
            end)
            local list = {}
            for i = 1, 40 do
                list[i] = function()
                    assert(http.request { url = ("%s?sleep=%d"):format(url, i), timeout = 10 })
                    answered[#answered + 1] = i
                end
            end
            local passed = time.now()
            task.all(list)
            -- The longest of them; together they are 820 s.
            assert.is_true(time.now() - passed < 400)
        end)
        for i = 1, 40 do
            assert.equal(i, answered[i])
        end
    end)

    it("forgets the request of a client that has gone", function()
        local before = nil
        paused(function()
            local finish = {}
            local url = serve(function(request)
                if request.path == "/slow" then
                    finish.request = request
                    while not finish.now do time.sleep(1) end
                else
                    request:reply { status = 200, body = "x" }
                end
            end)
            local client = host_task.spawn(function() http.request { url = url .. "slow" } end)
            while not finish.request do time.sleep(0.001) end
            client:cancel()
            client:join()
            local began = time.now()
            assert(proc.run { argv = { "sleep", "0.1" } })
            before = time.now() - began
            finish.now = true
            time.sleep(2)
            pcall(finish.request.abort, finish.request)
        end)
        assert.is_true(before < 30)
    end)

    it("is the clock of deadlines that are cancelled in time", function()
        local passed = paused(function()
            assert.equal("done", task.timeout(5, function() time.sleep(4.9); return "done" end))
        end)
        assert.is_true(passed >= 4.9 and passed < 5)
    end)

    it("ends at a signal while it jumps", function()
        local binary = os.getenv "DGRUN_BINARY" or require("host.fs").real "/proc/self/exe"
        local child = assert(proc.spawn { argv = { binary, "-e", [[
            local time = require "host.time"
            time.pause(true)
            print("began")
            while true do require("dgrun.core.task").sleep(1000) end]] } })
        assert.equal("began", child:read().line)
        child:kill "SIGTERM"
        task.timeout(30, function()
            while child:read() do task.checkpoint() end
            assert.equal(143, child:wait().status)
        end)
    end)
end)

describe("the clock", function()
    it("runs at its usual speed when it is not paused", function()
        local began = time.now()
        local real = real_seconds(function() time.sleep(0.15) end)
        assert.is_true(time.now() - began >= 0.15)
        assert.is_true(real >= 0.13)
    end)
end)
