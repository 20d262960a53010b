-- dgrun secrets run ENV -- CMD: a command of this machine with an environment's secrets.
local fs = require "host.fs"
local proc = require "host.proc"
local sample = require "support.sample"
local task = require "dgrun.core.task"
local terminal = require "support.terminal"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local canary = "canary-key-7Qe2-of-this-test"

local function project(files)
    local p = sample.new()
    p:write(".env.prod", ("DATABASE_URL=sqlite+aiosqlite:///x.db\nSECRET_KEY='%s'\n%s"):format(
        canary, files or ""))
    return p
end

local function is_in(text, dir)
    for _, name in ipairs(fs.list(dir) or {}) do
        local path = dir / name
        if fs.stat(path).type == "directory" then
            is_in(text, path)
        else
            assert.is_nil((fs.read(path, { limit = 2 ^ 26 }) or ""):find(text, 1, true), path)
        end
    end
end

---Starts dgrun in a project; its output is read by lines.
local function spawn(p, argv)
    local child = assert(proc.spawn { argv = { binary, "secrets", "run", "prod", "--",
        unpack(argv) }, cwd = p.dir, clean_env = true, stdin = true,
        env = { PATH = os.getenv "PATH", LANG = "C.UTF-8" } })
    task.defer(function() child:stop() end)
    return child
end

describe("secrets run", function()
    it("gives a command the declared secrets, and its exit status back", function()
        local p = project()
        local run = p:run({ "secrets", "run", "prod", "--", "python3", "-c", [[
import hashlib, os, sys
print(hashlib.sha256(os.environ["SECRET_KEY"].encode()).hexdigest(), os.environ["LOG_LEVEL"])
print(sys.stdin.read(), sys.argv[1:])
sys.exit(7)]], "--json", "A=b", "--" }, { stdin = "from outside" })
        assert.equal(7, run.status, run.all)
        assert.equal(require("host.digest").sha256(canary) .. " INFO\n"
            .. "from outside ['--json', 'A=b', '--']\n", run.stdout)
        assert.equal("", run.stderr)
        assert.equal(0, p:run({ "secrets", "run", "prod", "--", "true" }).status)
        -- It is no run of the history, and nothing of it is kept.
        assert.is_nil(p:run({ "history" }).stdout:find("secrets", 1, true))
        is_in(canary, p.dir / ".dgrun")
    end)

    it("masks what the command writes, byte for byte otherwise", function()
        local p = project()
        local run = p:run({ "secrets", "run", "prod", "--", "sh", "-c",
            [[printf 'a\0b\r\nkey=%s;' "$SECRET_KEY"; printf 'no end %s' "$SECRET_KEY" >&2]] },
            { env = { DGRUN_DEBUG = "1" } })
        assert.equal(0, run.status, run.all)
        assert.equal("a\0b\r\nkey=***;", run.stdout)
        assert.matches("no end %*%*%*", run.stderr)
        assert.is_nil(run.all:find("canary", 1, true))
    end)

    it("says what is missing before anything runs", function()
        local p = sample.new()
        p:write(".env.prod", "DATABASE_URL=sqlite+aiosqlite:///x.db\n")
        local run = p:run { "secrets", "run", "prod", "--", "touch", "ran" }
        assert.equal(2, run.status, run.all)
        assert.matches("environment 'prod' lacks the required secret", run.stderr)
        assert.is_false(fs.exists(p.dir / "ran"))

        run = project():run { "secrets", "run", "prod", "--" }
        assert.equal(2, run.status)
        assert.matches("no command was given\n  Write it after --: dgrun secrets run prod",
            run.stderr, 1, true)
        run = project():run { "secrets", "run", "prod", "printenv" }
        assert.equal(2, run.status)
        assert.matches("unexpected argument 'printenv'\n  Write the command after --.", run.stderr,
            1, true)
        run = project():run { "secrets", "run", "prod", "--", "nosuch-program" }
        assert.equal(127, run.status)
        assert.matches("^dgrun: the program 'nosuch%-program' is not in PATH", run.stderr)
        assert.is_nil(run.stderr:find("Run it again", 1, true))
    end)

    it("is recorded in a plan and not run", function()
        local p = project()
        local plan = p:run { "plan", "secrets", "run", "prod", "--", "touch", "ran" }
        assert.equal(0, plan.status, plan.all)
        assert.matches("! run touch ran with the secrets of prod", plan.stdout, 1, true)
        assert.is_false(fs.exists(p.dir / "ran"))
    end)

    it("passes signals on, and ends when the command does", function()
        local p = project()
        for name, status in pairs { INT = 51, TERM = 52, HUP = 53, USR1 = 54 } do
            local child = spawn(p, { "sh", "-c", [[
                trap 'echo got it; sleep 0.3; exit 51' INT
                trap 'echo got it; sleep 0.3; exit 52' TERM
                trap 'echo got it; sleep 0.3; exit 53' HUP
                trap 'echo got it; sleep 0.3; exit 54' USR1
                echo ready; while :; do sleep 0.05; done]] })
            assert.equal("ready", assert(child:read()).line)
            assert(proc.run { argv = { "kill", "-" .. name, tostring(child:pid()) } })
            assert.equal("got it", assert(child:read()).line)
            assert.equal(status, assert(child:wait()).status)
        end
        local child = spawn(p, { "sh", "-c", "kill -USR2 $$" })
        assert.equal(128 + 12, assert(child:wait()).status)
    end)

    it("lets a command read and write for as long as somebody is there", function()
        local p = project()
        local child = spawn(p, { "sh", "-c", "while read line; do echo \"<$line>\"; done" })
        for _, word in ipairs { "one", "two" } do
            assert(child:write(word .. "\n"))
            assert.equal("<" .. word .. ">", assert(child:read()).line)
        end
        child:close_stdin()
        assert.equal(0, assert(child:wait()).status)

        -- Whoever reads the output leaves: the command is told, as in any pipe.
        local run = p:run { "-e", ([[
            local r = require("host.proc").run { argv = { "sh", "-c",
                "'%s' secrets run prod -- yes | head -n 1" }, timeout = 20 }
            io.write(r and r.stdout or "stuck")]]):format(binary) }
        assert.equal("y\n", run.stdout, run.all)

        -- What it leaves behind does not hold dgrun up.
        local began = require("host.time").now()
        run = p:run { "secrets", "run", "prod", "--", "sh", "-c", "sleep 30 & echo $!" }
        assert.is_true(require("host.time").now() - began < 20)
        proc.run { argv = { "kill", run.stdout:match "%d+" } }
    end)

    it("gives the terminal to the command where a person is at it", function()
        local p = project()
        local shown = terminal.run({ { wait = "name? " }, { type = "Ada\n" },
            { wait = "ready" }, { type = "\3" } }, { binary, "secrets", "run", "prod", "--",
            "sh", "-c", [[
                trap 'echo interrupted; exit 9' INT
                test -t 0 && test -t 1 && test -t 2 && printf 'name? '
                read name; echo "hello $name $SECRET_KEY"
                echo ready; while :; do sleep 0.05; done]] }, { cwd = p.dir })
        assert.equal(9, shown.status, shown.output)
        assert.matches("hello Ada " .. canary, shown.output, 1, true)
        local _, times = shown.output:gsub("interrupted", "")
        assert.equal(1, times, shown.output)
        assert.is_true(shown.restored)
    end)

    it("is completed by the shells up to the command", function()
        local p = project()
        assert.matches("prod\tdraft%-app%-prod", p:run({ "complete", "--", "secrets", "run",
            "" }).stdout)
        assert.equal("", p:run({ "complete", "--", "secrets", "run", "prod", "--", "ls",
            "--" }).stdout)
        assert.matches("dgrun secrets run WHERE [--app APP] -- COMMAND...",
            p:run({ "help", "secrets", "run" }).stdout, 1, true)
    end)
end)
