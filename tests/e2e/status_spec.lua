-- dgrun status as people and monitors call it, on the sample project.
local fast_project = require "support.fast_project"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local repository = require "support.repository"
local sample = require "support.sample"

local function deployed()
    local project = fast_project.new()
    project:deploy("prod_deploy", "v1.2.0", project:image("one", { body = "hello" }))
    return project
end

local function report(project, ...)
    local told = project:run("status", "--json", ...)
    assert.equal(0, told.status, told.text)
    return json.decode(told.text)
end

describe("dgrun status", function()
    it("tells of all environments, and of those that are named", function()
        local project = deployed()
        local told = project:run "status"
        assert.equal(0, told.status, told.text)
        for _, text in ipairs { "prod  draft-app-prod  fine", "Players have a team",
            "up to date with origin/main", "one, sha256:", "v1 complete", "app: 2 started, healthy",
            "news-ingestion-cron: hourly", "none pending", "5 set", "prod_deploy --image ",
            "/health 200", "stage  draft-app  ", "nothing is deployed" } do
            assert.matches(text, told.text, 1, true)
        end
        assert.is_nil(told.text:find "unknown")
        assert.is_nil(project:run("status", "prod").text:find "nothing is deployed")
        told = project:run("status", "draft-app-prod")
        assert.matches("prod  draft-app-prod", told.text, 1, true)
        assert.equal("draft-app-prod",
            report(project, "--app", "draft-app-prod").environments[1].app)
        local wrong = project:run("status", "prdo")
        assert.equal(2, wrong.status)
        assert.matches("Did you mean prod?", wrong.text, 1, true)
    end)

    it("tells how a cron machine differs, as of the commit that is deployed", function()
        local project = deployed()
        assert.same({}, report(project, "prod").environments[1].crons[1].problems)
        -- What was not deployed is no drift.
        repository.commit(project.dir, { ["fly.cron.toml"] = assert(require("host.fs").read(
            project.dir / "fly.cron.toml")):gsub("512", "1024") }, "More memory")
        assert.same({}, report(project, "prod").environments[1].crons[1].problems)
        local _, cron = project:machines()
        local config = cron[1].config
        config.init = { cmd = { "/app/old", "command" } }
        assert(project:call("POST", "/v1/apps/draft-app-prod/machines/" .. cron[1].id,
            { config = config, skip_launch = true }) == 200)
        local told = project:run("status", "prod")
        assert.matches("! cron        news-ingestion-cron: its command is `/app/old command`",
            told.text, 1, true)
    end)

    it("leaves no trace in the history, and makes no store", function()
        local project = fast_project.new()
        assert.equal(0, project:run("status").status)
        assert.is_nil(require("host.fs").stat(project.dir / ".dgrun/state.db"))
        project:deploy("prod_deploy", "v1.2.0", project:image("one", { body = "hello" }))
        assert.equal(0, project:run("status").status)
        local history = project:run("history").text
        assert.matches("prod_deploy", history)
        assert.is_nil(history:find("status ", 1, true), history)
    end)

    it("asks what the probes of the environment want", function()
        local project = deployed()
        local file = "scripts/environments.yaml"
        local text = assert(require("host.fs").read(project.dir / file))
        project:write(file, (text:gsub("url: https://draft%-app%-prod.fly.dev\n", "%0"
            .. "    probes: [ { path: /health }, { path: /ready, body: up, within: 0s } ]\n")))
        local told = project:run("status", "prod")
        assert.matches("! site        /ready answered 200, but its body lacks", told.text, 1, true)
        assert.matches("/health 200 in", told.text)
        assert.equal(0, told.status)
        told = project:run("status", "prod", "--exit-code")
        assert.equal(3, told.status)
        assert.matches("prod: site: /ready answered 200, but its body lacks", told.text, 1, true)
    end)

    it("gives a monitor a status, and the reason on standard error alone", function()
        local project = sample.new { fresh = true }
        local deploy = project:run { "--sandbox", "prod_deploy", "--ref", "v1.1.0", "--image",
            project:image("one", { body = "hello" }) }
        assert.equal(0, deploy.status, deploy.all)
        local monitor = project:run { "--sandbox", "status", "prod", "--max-age", "2d", "--json" }
        assert.equal(3, monitor.status, monitor.all)
        assert.matches("^dgrun: prod: the deployed commit %x+ is %d+d old, more than 2d",
            monitor.stderr)
        for words, status in pairs { ["--max-behind-for 900000h"] = 0,
            ["--max-behind-for 0s"] = 3, ["--exit-code"] = 0 } do
            local told = project:run { "--sandbox", "status", "prod", words:match "^%S+",
                words:match " (.+)" }
            assert.equal(status, told.status, told.all)
        end
        local environment = json.decode(monitor.stdout).environments[1]
        assert.equal("commit", environment.problems[1].source)
        assert.is_nil(monitor.all:find "traceback")
        -- On a terminal, and only there, what is wrong is red.
        local function shown(more)
            local env = { PATH = os.getenv "PATH", HOME = "/nonexistent", TERM = "xterm",
                DGRUN_STDLIB = os.getenv "DGRUN_STDLIB" }
            for name, value in pairs(more or {}) do
                env[name] = value
            end
            local binary = os.getenv "DGRUN_BINARY" or require("host.fs").real "/proc/self/exe"
            local line = ("'%s' --sandbox status prod --max-behind 0"):format(binary)
            return assert(proc.run { cwd = project.dir, clean_env = true, env = env,
                argv = { "script", "-qec", line, "/dev/null" } }).stdout
        end
        assert.matches("\27[31m!\27[0m", shown(), 1, true)
        assert.is_nil(shown({ NO_COLOR = "1" }):find "\27")
        assert.is_nil(shown({ TERM = "dumb" }):find "\27")
    end)
end)
