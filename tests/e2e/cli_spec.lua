local sample = require "support.sample"

describe("dgrun", function()
    it("runs a plain Lua file, and code", function()
        local project = sample.new()
        project:write("scripts/plain.lua", 'print("plain", ...)')
        local run = project:run { "plain" }
        assert.equal(0, run.status, run.all)
        assert.matches("plain", run.stdout)
        assert.equal("3\n", project:run({ "-e", "print(1 + 2)" }).stdout)
        local deep = project:run({ "plain" }, { cwd = project.dir / "app/cli" })
        assert.equal(0, deep.status, deep.all)
    end)

    it("runs by path, lists, helps and tells its version", function()
        local project = sample.new { fresh = true }
        local list = project:run { "list" }
        for _, name in ipairs { "prod_deploy", "stage_deploy", "cron_setup" } do
            assert.matches(name, list.stdout)
        end
        assert.matches("--allow-older", project:run({ "help", "prod_deploy" }).stdout, 1, true)
        assert.matches("^dgrun %d+%.%d+%.%d+\n$", project:run({ "version" }).stdout)
        local run = project:run { "--sandbox", "scripts/prod_deploy.lua", "--ref", "v1.0.0" }
        assert.equal(0, run.status, run.all)
    end)

    it("runs without standard streams", function()
        local project = sample.new()
        local binary = os.getenv "DGRUN_BINARY" or require("host.fs").real "/proc/self/exe"
        for _, closed in ipairs { "<&-", ">&-", "2>&-", "<&- >&- 2>&-" } do
            local run = assert(require("host.proc").run { cwd = project.dir,
                argv = { "sh", "-c", ('exec "$0" list %s'):format(closed), binary } })
            assert.equal(0, run.status, closed)
        end
    end)

    it("runs the README's first pipeline", function()
        local project = sample.new()
        local readme = assert(require("host.fs").read("README.md"))
        local pipeline = readme:match("```lua\n(.-)```")
        project:write("scripts/hello_deploy.lua", pipeline)
        local secrets = [[
require("dgrun").secrets.sync { app = "draft-app-prod",
    secrets = require("dgrun").environment("prod").secrets }]]
        project:write("scripts/seed.lua", secrets)
        assert.equal(0, project:run({ "--sandbox", "seed" }).status)
        local run = project:run { "--sandbox", "hello_deploy", "--ref", "v1.2.0" }
        assert.equal(0, run.status, run.all)
        assert.matches("answered 200", run.stderr)
    end)

    it("serves the local Fly for other clients, until interrupted", function()
        local project = sample.new()
        local task = require "dgrun.core.task"
        local fs = require "host.fs"
        local child = assert(require("host.proc").spawn {
            argv = { os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe", "sandbox" },
            cwd = project.dir,
        })
        local url
        while not url do
            local line = assert(child:read())
            url = line.line:match("FLY_FLAPS_BASE_URL=(%S+)")
        end
        local token = assert(project:read ".dgrun/sandbox/token")
        local run = project:run({ "prod_deploy", "--ref", "v1.2.0", "--image",
            "registry.fly.io/draft-app-prod:x" },
            { env = { FLY_API_TOKEN = token, FLY_FLAPS_BASE_URL = url, FLY_API_BASE_URL = url,
                FLY_UIEX_BASE_URL = url } })
        assert.equal(1, run.status)
        assert.matches("draft-app-prod", run.stderr, 1, true)
        child:kill "SIGINT"
        task.timeout(20, function()
            while child:read() do task.checkpoint() end
            assert.equal(0, child:wait().status)
        end)
    end)

    it("ends a line that a script left open before it reports progress, on a terminal", function()
        local project = sample.new()
        project:write("scripts/partial.lua", [[
            require("dgrun").step("One", function() io.write("half a line") end)]])
        local binary = os.getenv "DGRUN_BINARY" or require("host.fs").real "/proc/self/exe"
        local shown = require("support.terminal").run({}, { binary, "partial" },
            { cwd = project.dir, env = { NO_COLOR = "1" } })
        assert.matches("half a line\r?\n  done", shown.output)
        assert.equal("half a line\n", (project:run({ "partial" }).stdout:sub(1, 12)))
    end)

    it("ends at SIGTERM with 143, saying where it was", function()
        local project = sample.new()
        project:write("scripts/slow.lua", [[
            local dg = require "dgrun"
            dg.step("Sleep", function()
                print("sleeping")
                dg.task.sleep(60)
            end)]])
        local fs = require "host.fs"
        local child = assert(require("host.proc").spawn {
            argv = { os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe", "slow" },
            cwd = project.dir,
        })
        local all = {}
        for line in function() return child:read() end do
            all[#all + 1] = line.line
            if line.line == "sleeping" then
                child:kill "SIGTERM"
            end
        end
        assert.equal(143, child:wait().status)
        assert.matches("Sleep", table.concat(all, "\n"))
    end)
end)
