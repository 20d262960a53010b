local fs = require "host.fs"
local host_task = require "host.task"
local proc = require "host.proc"
local secret = require "host.secret"
local task = require "dgrun.core.task"
local time = require "host.time"
local until_true = require("support.wait").until_true

-- It is about the world outside of the process, which does not jump.
before_each(function() time.pause(false) end)

local function sh(script, opts)
    opts = opts or {}
    opts.argv = { "sh", "-c", script, "sh", unpack(opts.args or {}) }
    opts.args = nil
    return opts
end

local function run(script, opts) return assert(proc.run(sh(script, opts))) end

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

---Does a process of this id run? A zombie does not.
local function alive(pid)
    local status = fs.read(("/proc/%d/stat"):format(pid))
    local state = status and status:match("^%d+ %b() (%a)")
    return state ~= nil and state ~= "Z" and state ~= "X"
end

describe("host.proc.run", function()
    it("gives status and both streams", function()
        local r = run("echo out; echo err >&2; exit 3")
        assert.same({ 3, "out\n", "err\n" }, { r.status, r.stdout, r.stderr })
        assert.is_nil(r.signal)
        assert.is_true(r.seconds >= 0)
    end)

    it("passes arguments as they are", function()
        local odd = {
            "", " ", "a b", "'\"", "$(id)", "`id`", "*", "\\", "\n", "-n", "ü€", "\1\127", "\255",
        }
        local r = run("for a; do printf '[%s]' \"$a\"; done", { args = odd })
        assert.equal("[" .. table.concat(odd, "][") .. "]", r.stdout)
    end)

    it("ends by a signal", function()
        local r = run("kill -USR1 $$")
        assert.same({ 138, 10 }, { r.status, r.signal })
    end)

    it("seals what is printed", function()
        local r = run("printf 'sealed\\0output'; echo plain >&2", { seal = "OUTPUT" })
        assert.is_true(secret.is(r.stdout))
        assert.equal("secret(OUTPUT)", tostring(r.stdout))
        assert.is_true(r.stdout == secret.new("X", "sealed\0output"))
        assert.equal("plain\n", r.stderr)
        assert.is_true(run("true", { seal = "X" }).stdout:test("empty"))
        local _, e = proc.run(sh("echo never-shown; sleep 60", { seal = "X", timeout = 0.2 }))
        assert.equal("proc.timeout", e.code)
        assert.is_nil(tostring(e):find("never-shown", 1, true))
        assert.matches("unknown_option", caught(proc.spawn, sh("true", { seal = "X" })).code)
    end)

    it("gives no input unless there is some", function()
        assert.equal("", run("cat").stdout)
        assert.equal("", run("cat", { stdin = "" }).stdout)
        local bytes = ("\0\1\255 line\n"):rep(100000)
        assert.equal(bytes, run("cat", { stdin = bytes }).stdout)
        assert.equal("hidden", run("cat", { stdin = secret.new("INPUT", "hidden") }).stdout)
    end)

    it("does not mind a child that does not read its input", function()
        assert.equal(0, run("exit 0", { stdin = ("x"):rep(1000000) }).status)
    end)

    it("changes the environment, or gives it in full", function()
        local r = run('echo "$A$B${HOME-none}"',
            { env = { A = "1", B = secret.new("B", "sealed-b"), HOME = false } })
        assert.equal("1sealed-bnone\n", r.stdout)
        r = assert(proc.run { argv = { "/usr/bin/env" }, env = { ONLY = "x=y" }, clean_env = true })
        assert.equal("ONLY=x=y\n", r.stdout)
    end)

    it("lets a child open its streams by name", function()
        local r = run("echo a > /dev/stdout; echo b > /dev/stderr")
        assert.same({ "a\n", "b\n" }, { r.stdout, r.stderr })
    end)

    it("gives a child a session of its own, without a terminal", function()
        local r = run("(: < /dev/tty) 2>/dev/null || echo none; ps -o sid= -p $$; echo $$")
        local tty, session, pid = r.stdout:match("^(%a+)%s+(%d+)%s+(%d+)%s$")
        assert.equal("none", tty)
        assert.equal(pid, session)
    end)

    it("runs in another folder", function()
        assert.equal("/usr\n", run("pwd", { cwd = "/usr" }).stdout)
        local _, e = proc.run { argv = { "pwd" }, cwd = "/nowhere/at/all" }
        assert.matches("/nowhere/at/all", e.msg)
    end)

    it("names a program that is not there, and PATH", function()
        local _, e = proc.run { argv = { "no-such-program" }, env = { PATH = "/somewhere/bin" } }
        assert.equal("proc.not_found", e.code)
        assert.matches("no%-such%-program", e.msg)
        assert.matches("/somewhere/bin", e.msg, nil, true)
        _, e = proc.run { argv = { "/etc/passwd" } }
        assert.equal("proc.not_found", e.code)
        assert.matches("not an executable", e.msg)
    end)

    it("ends a child that takes too long, and says what it said last", function()
        local _, e = proc.run(sh("echo waiting for the lock >&2; sleep 60", { timeout = 0.3 }))
        assert.equal("proc.timeout", e.code)
        assert.matches("0.3 s", e.msg)
        assert.matches("waiting for the lock", e.stderr)
    end)

    it("kills a child that does not listen", function()
        local _, e = proc.run(sh("trap '' TERM; echo $$ >&2; while :; do sleep 0.05; done",
            { timeout = 0.3, grace = 0.1 }))
        assert.equal("proc.timeout", e.code)
        local pid = assert(tonumber(e.stderr))
        assert.is_false(alive(pid))
    end)

    it("lets a child that listens end in its own way", function()
        local _, e = proc.run(sh("trap 'echo cleaned >&2; exit 0' TERM; echo ready >&2; "
            .. "while :; do sleep 0.02; done", { timeout = 0.3 }))
        assert.equal("proc.timeout", e.code)
        assert.matches("cleaned", e.stderr)
    end)

    it("ends a child that says too much", function()
        local _, e = proc.run(sh("echo $$ >&2; exec head -c 100000000 /dev/zero"))
        assert.equal("proc.output_limit", e.code)
        assert.matches("16777216 bytes", e.msg)
        assert.is_false(alive(assert(tonumber(e.stderr))))
        local r = run("printf 12345", { limit = 5 })
        assert.equal("12345", r.stdout)
        _, e = proc.run(sh("printf 123456", { limit = 5 }))
        assert.equal("proc.output_limit", e.code)
    end)

    it("does not wait for a grandchild that holds the pipe", function()
        local r = run("sleep 60 & echo $!")
        assert.equal(0, r.status)
        local pid = assert(tonumber(r.stdout))
        assert.is_true(alive(pid))
        run("kill " .. pid)
    end)

    it("ends the whole group when it is cancelled", function()
        local dir = assert(fs.temp_dir("proc-"))
        local file = dir .. "/pids"
        local child = host_task.spawn(function()
            local script = '(trap "" TERM; echo up > "$1.up"; sleep 60) & echo $$ $! > "$1"; wait'
            return proc.run(sh(script, { args = { file }, grace = 0.1 }))
        end)
        until_true(function()
            return fs.exists(file .. ".up") and (fs.read(file) or ""):find("\n")
        end)
        child:cancel()
        local joined, result, e = child:join()
        assert.is_true(joined)
        assert.is_nil(result)
        assert.equal("cancelled", e.code)
        for pid in fs.read(file):gmatch("%d+") do
            until_true(function() return not alive(tonumber(pid)) end)
        end
        fs.remove(dir, { recursive = true })
    end)

    it("is cancelled before it starts", function()
        local dir = assert(fs.temp_dir("proc-"))
        local child = host_task.spawn(function()
            require("host.time").sleep(60)
            return proc.run(sh('touch "$1"', { args = { dir .. "/ran" } }))
        end)
        require("host.time").sleep(0)
        child:cancel()
        local _, _, e = child:join()
        assert.equal("cancelled", e.code)
        assert.is_false(fs.exists(dir .. "/ran"))
        fs.remove(dir, { recursive = true })
    end)

    it("never shows a sealed value on a command line", function()
        local value = "canary-" .. ("%x"):rep(3):format(1, 2, 3) .. "-plum"
        local sealed = secret.new("CANARY", value)
        local r = run("cat /proc/$$/cmdline /proc/$PPID/cmdline; cat > /dev/null; echo; echo ${#V}",
            { env = { V = sealed }, stdin = sealed })
        assert.is_nil(r.stdout:find(value, 1, true))
        assert.matches("\n" .. #value .. "\n$", r.stdout)
        local e = caught(proc.run, { argv = { "echo", sealed } })
        assert.equal("input.invalid", e.code)
        assert.matches("sealed value", e.msg)
    end)

    it("refuses wrong arguments before anything starts", function()
        local wrong = {
            { {}, "argv" },
            { { argv = {} }, "empty" },
            { { argv = { "" } }, "empty" },
            { { argv = { "echo", "a\0b" } }, "argv%[2%] holds a NUL" },
            { { argv = { "echo", 5 } }, "argv%[2%] must be a string" },
            { { argv = { "echo" }, env = { A = "a\0b" } }, "env.A holds a NUL" },
            { { argv = { "echo" }, env = { A = secret.new("NUL", "abcd\0efgh") } }, "NUL" },
            { { argv = { "echo" }, env = { A = 1 } }, "env.A must be" },
            { { argv = { "echo" }, env = { ["A=B"] = "1" } }, "A=B" },
            { { argv = { "echo" }, env = { "A" } }, "must be strings" },
            { { argv = { "echo" }, stdin = true }, "stdin" },
            { { argv = { "echo" }, timout = 1 }, "timeout" },
            { { argv = { "echo" }, timeout = -1 }, "timeout" },
        }
        for _, case in ipairs(wrong) do
            local e = caught(proc.run, case[1])
            assert.matches("^input%.", e.code)
            assert.matches(case[2], e.msg .. " " .. (e.hint or ""))
        end
    end)

    it("loses no output while Lua computes for longer than a pipe may outlive a child", function()
        local dir = assert(fs.temp_dir("proc-"))
        assert(proc.run { argv = { "mkfifo", dir .. "/gate" } })
        local children = {}
        for i = 1, 80 do
            children[i] = i
        end
        -- All children write and end at about the same time, some of them between two polls
        -- of the loop, and the first one to end is followed by a long computation.
        for _ = 1, 2 do
            local computed = false
            local out = task.map(children, { limit = #children + 1 }, function(i)
                if i == #children then
                    return run("sleep 0.5; : > $1", { args = { dir .. "/gate" } }).stdout
                end
                local child = run(": < $2; echo $1", { args = { tostring(i), dir .. "/gate" } })
                local till = os.clock() + (computed and 0 or 1.1)
                computed = true
                while os.clock() < till do end
                return child.stdout
            end)
            for i = 1, #children - 1 do
                assert.equal(i .. "\n", out[i])
            end
        end
        fs.remove(dir, { recursive = true })
    end)

    it("runs many at once", function()
        local list = {}
        for i = 1, 60 do
            list[i] = i
        end
        local out = task.map(list, { limit = 20 }, function(i)
            collectgarbage("step")
            return run("echo $1", { args = { tostring(i) } }).stdout
        end)
        for i = 1, 60 do
            assert.equal(i .. "\n", out[i])
        end
    end)
end)

describe("host.proc.spawn", function()
    local function spawn(script, opts) return assert(proc.spawn(sh(script, opts))) end

    local function lines(child)
        local list = {}
        for item in function() return child:read() end do
            list[#list + 1] = item
        end
        child:stop()
        return list
    end

    it("gives the lines of both streams, and the status", function()
        local child = spawn("echo a; echo; printf 'b\\r\\nc'; echo d >&2; exit 4")
        local out, errors = {}, {}
        for _, item in ipairs(lines(child)) do
            table.insert(item.stream == "stdout" and out or errors, item.line)
        end
        assert.same({ "a", "", "b", "c" }, out)
        assert.same({ "d" }, errors)
        assert.equal(4, child:wait().status)
        assert.is_nil(child:read())
    end)

    it("gives a line as soon as it is there", function()
        local child = spawn("echo first; read answer; echo $answer", { stdin = true })
        assert.equal("first", child:read().line)
        assert.is_true(child:write("second\n"))
        assert.equal("second", child:read().line)
        child:close_stdin()
        assert.equal(0, child:wait().status)
        local _, e = child:write("more")
        assert.equal("proc.closed", e.code)
        child:stop()
    end)

    it("writes sealed values", function()
        local child = spawn("read value; echo ${#value}", { stdin = true })
        child:write(secret.new("WRITTEN", "12345678"))
        child:write("\n")
        assert.equal("8", child:read().line)
        child:stop()
    end)

    it("cuts long lines", function()
        local child = spawn("head -c 150000 /dev/zero | tr '\\0' x; echo; echo next")
        local sizes = {}
        for i, item in ipairs(lines(child)) do
            sizes[i] = { #item.line, item.cut }
        end
        assert.same({ { 65536, true }, { 65536, true }, { 150000 - 131072 }, { 4 } }, sizes)
    end)

    it("makes a child wait whose lines nobody reads", function()
        local dir = assert(fs.temp_dir("proc-"))
        local child = spawn('i=0; while [ $i -lt 400 ]; do head -c 9999 /dev/zero | tr "\\0" x; '
            .. 'echo; i=$((i + 1)); echo $i > "$1"; done', { args = { dir .. "/count" } })
        local function count() return tonumber((fs.read(dir .. "/count"))) or 0 end
        until_true(function() return count() > 100 end)
        local total = 0
        for item in function() return child:read() end do
            total = total + #item.line
        end
        assert.equal(400 * 9999, total)
        assert.equal(400, count())
        child:stop()
        fs.remove(dir, { recursive = true })
    end)

    it("sees the end of a child that is stopped while its queue is full", function()
        for _ = 1, 40 do
            local child = spawn("exec yes", { grace = 60 })
            child:read()
            local r = task.timeout(10, function() return child:stop() end)
            assert.equal(15, r.signal)
            local kept = 0
            for item in function() return child:read() end do
                kept = kept + #item.line
            end
            assert.is_true(kept < 2 ^ 21)
        end
    end)

    it("answers every task that waits", function()
        local child = spawn("read x; exit 7", { stdin = true })
        local results = task.all {
            function() return child:wait().status end,
            function() return child:wait().status end,
            function() return child:read() == nil end,
            function() child:close_stdin() return true end,
        }
        assert.same({ 7, 7, true, true }, results)
    end)

    it("leaves the child alone when a reader is cancelled", function()
        local child = spawn("read x; echo $x", { stdin = true })
        local reader = host_task.spawn(function() return child:read() end)
        require("host.time").sleep(0)
        reader:cancel()
        local _, _, e = reader:join()
        assert.equal("cancelled", e.code)
        child:write("still here\n")
        assert.equal("still here", child:read().line)
        child:stop()
    end)

    it("signals by name", function()
        local child = spawn("trap 'echo usr1' USR1; echo ready; while :; do :; done")
        assert.equal("ready", child:read().line)
        assert.is_true(child:kill("USR1"))
        assert.equal("usr1", child:read().line)
        assert.is_true(child:kill("SIGKILL"))
        assert.same({ 137, 9 }, { child:wait().status, child:wait().signal })
        local _, e = child:kill("TERM")
        assert.matches("it has ended", e.msg)
        assert.matches("BOGUS", caught(child.kill, child, "BOGUS").msg)
        child:stop()
    end)

    it("stops a child, its group, and closes a pipe that is still held", function()
        local child = spawn("sleep 60 & echo $!; wait", { grace = 0.1 })
        local pid = tonumber(child:read().line)
        assert.equal(15, child:stop().signal)
        until_true(function() return not alive(pid) end)
        assert.is_nil(child:read())
    end)

    it("ends a child that is forgotten", function()
        local before = host_task.stats().handles
        local pid -- in a task of its own: no stack slot here remembers the child
        task.all { function() pid = spawn("sleep 60"):pid() end }
        until_true(function()
            collectgarbage()
            return not alive(pid)
        end)
        until_true(function() return host_task.stats().handles <= before end)
    end)

    it("keeps a child that is only waited for", function()
        local done = spawn("sleep 0.1; exit 5"):wait()
        assert.equal(5, done.status)
        local r = task.all {
            function() return spawn("sleep 0.2; exit 6"):wait() end,
            function()
                for _ = 1, 20 do
                    collectgarbage()
                    task.sleep(0.005)
                end
                return true
            end,
        }
        assert.equal(6, r[1].status)
    end)

    it("has a time limit", function()
        local child = spawn("sleep 60", { timeout = 0.05 })
        local r, e = child:wait()
        assert.is_nil(r)
        assert.equal("proc.timeout", e.code)
        child:stop()
    end)

    it("survives a cancel at any moment", function()
        for i = 1, 150 do
            local one = host_task.spawn(function() return proc.run(sh("echo x; sleep 5")) end)
            if i % 3 > 0 then
                require("host.time").sleep(i % 3 == 1 and 0 or i / 20000)
            end
            one:cancel()
            local _, _, e = one:join()
            assert.equal("cancelled", e.code)
        end
    end)
end)

describe("the end of dgrun", function()
    local binary = fs.real("/proc/self/exe")

    ---Runs a script in another dgrun; gives its child's output.
    local function dgrun(script, opts)
        opts = opts or {}
        opts.argv = { binary, "-e", script }
        opts.env = { DGRUN_DEBUG = false }
        return opts
    end

    it("ends children that are still there", function()
        local r = assert(proc.run(dgrun [[
            local child = require("host.proc").spawn { argv = { "sleep", "60" } }
            package.loaded.child = child
            print(child:pid())
        ]]))
        assert.equal("", r.stderr)
        assert.is_false(alive(assert(tonumber(r.stdout))))
    end)

    it("ends them firmly when they do not listen", function()
        local r = assert(proc.run(dgrun [[
            local child = require("host.proc").spawn {
                argv = { "sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done" },
                grace = 0.2,
            }
            print(child:read().line)
        ]]))
        assert.is_false(alive(assert(tonumber(r.stdout))))
    end)

    it("ends them when it is interrupted", function()
        local child = assert(proc.spawn(dgrun [[
            local host = require "host.proc"
            local one = host.spawn { argv = { "sh", "-c", "echo $$; exec sleep 60" } }
            print(one:read().line)
            require("host.log").flush()
            assert(one:wait()) -- a child that begins now might hear the signal itself
        ]]))
        local pid = assert(tonumber(child:read().line))
        child:kill("TERM")
        assert.equal(143, child:wait().status)
        assert.is_false(alive(pid))
        child:stop()
    end)
end)

describe("host.proc.foreground", function()
    it("gives the status of a child that has the streams of this process", function()
        local r = assert(proc.foreground { argv = { "sh", "-c", 'test "$KEY" = x && exit 3' },
            env = { KEY = secret.new("KEY", "x") } })
        assert.equal(3, r.status)
        assert.is_nil(r.signal)
        assert.is_true(r.seconds >= 0)
        r = assert(proc.foreground { argv = { "sh", "-c", "kill -TERM $$" } })
        assert.same({ 143, 15 }, { r.status, r.signal })
    end)

    it("says why a child did not start", function()
        local r, e = proc.foreground { argv = { "nosuch-program" } }
        assert.is_nil(r)
        assert.same({ "proc.not_found", "nosuch-program" }, { e.code, e.program })
        assert.equal("Install nosuch-program, or correct PATH.", e.hint)
        r, e = proc.foreground { argv = { "true" }, cwd = "/nosuch" }
        assert.is_nil(r)
        assert.equal("proc.not_found", e.code)
        assert.equal("input.unknown_option", caught(proc.foreground,
            { argv = { "true" }, timeout = 1 }).code)
    end)

    it("is one at a time, and is asked to end when its task is cancelled", function()
        local child = host_task.spawn(function()
            return proc.foreground { argv = { "sleep", "60" } }
        end, { name = "foreground" })
        until_true(function() return child:status() == "running" end)
        time.sleep(0.05)
        assert.equal("input.invalid", caught(proc.foreground, { argv = { "true" } }).code)
        child:cancel()
        local ok, r = child:join()
        assert.is_true(ok)
        assert.equal(15, r.signal)
    end)
end)
