local fs = require "host.fs"
local proc = require "host.proc"
local terminal = require "support.terminal"
local tty = require "host.tty"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

---Asks, and prints the error's code, or whether the answer was `wanted`.
local ASK = [[
local value, e = require("host.tty").ask("KEY", "KEY (not shown): ")
print(value and "got it: " .. tostring(value == require("host.secret").new("X", os.getenv "WANTED"))
    or e.code)]]

local function ask(keys, wanted, code)
    local steps = { { wait = "shown): " } }
    for _, step in ipairs(keys) do
        steps[#steps + 1] = step
    end
    return terminal.run(steps, { binary, "-e", code or ASK }, { env = { WANTED = wanted or "" } })
end

local function restored(result)
    assert.is_true(result.shows)
    assert.is_true(result.restored)
    assert.equal("", result.left)
    return result.output
end

describe("a question at the terminal", function()
    it("is answered without an echo", function()
        local result = ask({ { type = "hunter2 ünï\n" } }, "hunter2 ünï")
        assert.matches("got it: true", restored(result))
        assert.is_nil(result.output:find("hunter", 1, true))
        assert.is_false(result.during[2])
        assert.equal(0, result.status)
    end)

    it("knows the keys that erase, kill and end a line", function()
        local result = ask({ { type = "wrong\21hünter3\127\1272\4" } }, "hünte2")
        assert.matches("got it: true", restored(result))
        assert.matches("tty.ended", restored(ask { { type = "\4" } }))
        assert.matches("tty.ended", restored(ask { { type = "abc\21\4" } }))
    end)

    it("takes a line that is longer than a terminal's own", function()
        local long = ("0123456789abcdef"):rep(1024)
        local steps = {}
        for i = 1, #long, 1024 do
            steps[#steps + 1] = { type = long:sub(i, i + 1023) }
        end
        steps[#steps + 1] = { type = "\n" }
        local result = ask(steps, long)
        assert.matches("got it: true", restored(result))
    end)

    it("does not take several lines, nor leave them to the shell", function()
        local result = ask { { paste = "-----BEGIN KEY-----\nsecond line\nthird\n" } }
        assert.matches("tty.many_lines", restored(result))
        assert.is_nil(result.output:find("line", 1, true) and result.output:find "second")
        assert.matches("got it: true", restored(ask({ { paste = "one\r\n" } }, "one")))
    end)

    it("does not take keys that are no text", function()
        assert.matches("tty.control", restored(ask { { type = "abc\27[Ax\n" } }))
        -- Neither do those that stop or quit: the shell would come back to a silent terminal.
        assert.matches("tty.control", restored(ask { { type = "ab\26c\28\n" } }))
    end)

    it("gives the terminal back on Ctrl-C and SIGTERM", function()
        local script = [[local v, e = require("host.tty").ask("KEY", "(not shown): ")
            print("over: " .. e.code)
            error(e)]]
        for status, step in pairs { [130] = { type = "hunt\3" }, [143] = { signal = 15 } } do
            local result = ask({ step }, nil, script)
            assert.matches("over: cancelled", restored(result))
            assert.equal(status, result.status)
            assert.is_false(result.during[2])
        end
    end)

    it("gives the terminal back when a second signal ends the process at once", function()
        local script = [[
            require("host.task").shield(true)
            require("host.task").spawn(function()
                repeat until require("host.task").signal() or not require("host.time").sleep(0.01)
                require("host.fs").write(os.getenv "WANTED", "seen")
            end)
            print(require("host.tty").ask("KEY", "(not shown): "))]]
        local dir = assert(fs.temp_dir())
        local result = ask({ { type = "hunt" }, { signal = 2 }, { poll = dir / "seen" },
            { signal = 2 } }, dir / "seen", script)
        fs.remove(dir, { recursive = true })
        restored(result)
        assert.equal(130, result.status)
        assert.is_false(result.during[#result.during])
        assert.is_nil(result.output:find("hunt", 1, true))
    end)

    it("stands alone, and masks what it shows", function()
        local result = ask({ { type = "two\n" } }, nil, [[
            require("host.secret").new("S", "masked-word")
            local task = require "dgrun.core.task"
            task.scope(function()
                task.spawn(function()
                    print(require("host.tty").ask("KEY", "masked-word (not shown): "))
                end)
                task.spawn(function()
                    local ok, e = pcall(require("host.tty").ask, "KEY", "x")
                    print(ok, e.code)
                end)
            end)]])
        local output = restored(result)
        assert.matches("input.invalid", output)
        assert.matches("secret(KEY)", output, 1, true)
        assert.is_nil(output:find("masked-word", 1, true))
    end)

    it("needs a terminal", function()
        -- A session of its own has none, whatever the tests were started from.
        local result = assert(proc.run { argv = { "setsid", "--wait", binary, "-e", ASK } })
        assert.equal("tty.none\n", result.stdout, result.stderr)
        assert.has_error(function() tty.ask("KEY") end)
        assert.has_error(function() tty.ask("", "text") end)
    end)
end)

describe("standard input", function()
    local READ = [[
        local value, e = require("host.stdin").read("IN", { limit = tonumber(os.getenv "LIMIT") })
        print(value and require("host.digest").sha256(value) or e.code)
        if value then print(value, value:line() == value) end]]

    local function read(input, limit)
        return assert(proc.run { argv = { "sh", "-c", input .. ' | "$DGRUN" -e "$CODE"' },
            env = { DGRUN = binary, CODE = READ, LIMIT = tostring(limit or 1000) } }).stdout
    end
    local digest = require("host.digest").sha256

    it("is read to its end, sealed", function()
        assert.equal(digest "one\ntwo\n" .. "\nsecret(IN)\ttrue\n",
            read "(printf 'one\\n'; sleep 0.1; printf 'two\\n')")
        assert.equal(digest "" .. "\nsecret(IN)\ttrue\n", read "true")
        assert.equal(digest "x" .. "\nsecret(IN)\ttrue\n", read "printf x")
    end)

    it("of files and devices too", function()
        local dir = assert(fs.temp_dir())
        assert(fs.write(dir / "in", "value\n"))
        local function from(file)
            return assert(proc.run { argv = { "sh", "-c", '"$DGRUN" -e "$CODE" < ' .. file },
                env = { DGRUN = binary, CODE = READ, LIMIT = "1000" } }).stdout
        end
        assert.equal(digest "value\n" .. "\nsecret(IN)\tfalse\n", from(dir / "in"))
        assert.equal(digest "" .. "\nsecret(IN)\ttrue\n", from "/dev/null")
        fs.remove(dir, { recursive = true })
    end)

    it("has a limit", function()
        assert.equal("stdin.too_large\n", read("printf 12345", 4))
        assert.equal(digest "1234" .. "\nsecret(IN)\ttrue\n", read("printf 1234", 4))
    end)

    it("is left as it was, and a cancel ends the wait", function()
        -- The reader behind it shares the pipe's end: it still waits for what comes.
        local dir = assert(fs.temp_dir())
        local result = assert(proc.run { argv = { "sh", "-c", [[
            (until [ -e "$DIR/go" ]; do sleep 0.02; done; echo first; sleep 0.02; echo second) | {
                "$DGRUN" -e '
                    local task = require "dgrun.core.task"
                    print(pcall(task.timeout, 0.05, function()
                        return require("dgrun.core.check")(require("host.stdin").read("IN")) end))'
                touch "$DIR/go"
                cat; }]] }, env = { DGRUN = binary, DIR = dir } })
        fs.remove(dir, { recursive = true })
        assert.matches("^false\t[^\n]*\nfirst\nsecond\n$", result.stdout)
    end)
end)
