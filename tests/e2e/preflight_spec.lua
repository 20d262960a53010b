-- Preflight: what can be known about a deploy from the checkout is reported at once, before the
-- first change, with the paths of the repository.
local fs = require "host.fs"
local league = require "support.league"

local function repository_paths_only(run)
    assert.is_nil(run.all:find("/source-", 1, true), run.all)
end

describe("Preflight", function()
    it("reports all problems together, with repository paths, before the first change", function()
        local project = league.new()
        league.without_target(project)
        local fly = assert(project:read "deploy/fly/fly.toml")
        local news = assert(project:read "deploy/fly/fly.cron.news.stage.toml")
        local commit = project:commit {
            ["deploy/fly/fly.toml"] = fly:gsub('"league%-app"', '"other-app"', 1)
                :gsub("%[build%]", '[build]\ndockerfile = "Dockerfile.web"')
                :gsub("internal_port = 8080", 'internal_port = "many"'),
            ["deploy/fly/fly.cron.news.stage.toml"] = news:gsub("%[processes%]\n[^\n]*", ""),
            ["deploy/fly/fly.cron.scores.stage.toml"] = "app = \n",
            ["alembic/versions/2026_09_01_second_head.py"] =
                'revision = "0123456789ab"\ndown_revision = "0f0e72800be1"\n',
        }
        local short = commit:sub(1, 7)
        for _, argv in ipairs { { "stage_deploy", "--sandbox" },
            { "plan", "stage_deploy", "--sandbox" } } do
            local run = project:run(argv)
            assert.equal(3, run.status, run.all)
            for _, expected in ipairs {
                "4 problems in " .. short,
                "deploy/fly/fly.toml:14 at " .. short .. ": http_service.internal_port",
                "deploy/fly/fly.cron.news.stage.toml at " .. short .. ": the file names no command",
                "deploy/fly/fly.cron.scores.stage.toml:1:7 at " .. short .. ": Error while parsing",
                "have 2 heads: 0123456789ab and a216a75c6725", "alembic merge heads",
            } do
                assert.matches(expected, run.all, 1, true)
            end
            repository_paths_only(run)
        end
        assert.is_false(require("host.fs").exists(project.dir / ".dgrun/stage.db"))
    end)

    it("names the Dockerfile that is missing, the strategy, the url, and another app", function()
        local project = league.new()
        local fly = assert(project:read "deploy/fly/fly.toml")
        local environments = assert(project:read "scripts/environments.yaml")
        project:write("scripts/environments.yaml", (environments:gsub("https://league%-app%.fly",
            "htps:/league-app.fly", 1)))
        local commit = project:commit { ["deploy/fly/fly.toml"] = fly
            :gsub('"league%-app"', '"other-app"', 1)
            :gsub("%[build%]", '[build]\ndockerfile = "Dockerfile.web"') }
        local file = project.dir / ".env.stage"
        local values = assert(project:read ".env.stage")
        require("host.fs").remove(file)
        assert(require("host.fs").write(file, values, { mode = "0644" }))
        local run = project:run { "stage_deploy", "--sandbox" }
        assert.equal(3, run.status, run.all)
        local short = commit:sub(1, 7)
        for _, expected in ipairs {
            "warning: other users of this computer can read .env.stage (mode 644): "
                .. "chmod 600 .env.stage",
            "warning: deploy/fly/fly.toml at " .. short
                .. ": app is 'other-app', but stage deploys to 'league-app'",
            "deploy/fly/Dockerfile.web at " .. short .. " does not exist",
            "url of stage is not a URL", "2 problems",
        } do
            assert.matches(expected, run.all, 1, true)
        end
        repository_paths_only(run)
    end)

    it("reports missing secrets with the other problems, before the first change", function()
        local project = league.new()
        local fly = assert(project:read "deploy/fly/fly.toml")
        local short = project:commit { ["deploy/fly/fly.toml"] =
            fly:gsub("internal_port = 8080", 'internal_port = "many"') }:sub(1, 7)
        project:write(".env.stage", "SECRET_KEY=short-one\n")
        for _, argv in ipairs { { "stage_deploy", "--sandbox" },
            { "plan", "stage_deploy", "--sandbox" } } do
            local run = project:run(argv)
            assert.equal(3, run.status, run.all)
            for _, expected in ipairs {
                "3 problems in " .. short,
                "deploy/fly/fly.toml:13 at " .. short .. ": http_service.internal_port",
                "environment 'stage' lacks the required secret DATABASE_URL (looked in the "
                    .. "environment and then .env.stage)",
                "environment 'stage' breaks a rule: SECRET_KEY must have at least 16 characters "
                    .. "(from .env.stage:1)",
                "Set what is missing in one of these places.",
                "Correct the value where it comes from",
            } do
                assert.matches(expected, run.all, 1, true)
            end
            assert.is_nil(run.all:find("short-one", 1, true))
            repository_paths_only(run)
        end
        assert.is_false(fs.exists(project.dir / ".dgrun/stage.db"))
        project:with_fly(function(call)
            for _, what in ipairs { "machines", "volumes" } do
                local _, list = call("GET", "/v1/apps/league-app/" .. what)
                assert.same({}, list)
            end
            local _, list = call("GET", "/v1/apps/league-app/secrets")
            assert.same({}, list.secrets)
        end)
    end)

    it("is not waited for by a run whose script has none, nor by one that changes something",
        function()
            local project = league.new()
            project:write(".env.stage", "SECRET_KEY=long-enough-to-be-a-key\n")
            local function pipeline(body)
                project:write("scripts/changes.lua", ([[
                    local dg = require "dgrun"
                    local env = dg.environment "stage"
                    return dg.pipeline { description = "x", run = function()
                        dg.step("Look", function() print "looked" end)
                        %s
                    end }]]):format(body))
                return project:run { "changes", "--sandbox" }
            end
            local change = 'dg.proc.run { argv = { "touch", "changed" } }'
            local run = pipeline(change)
            assert.equal(2, run.status, run.all)
            assert.is_nil(run.stdout:find("looked", 1, true))
            -- Preflight comes too late here: nothing is changed before.
            run = pipeline(change .. '\ndg.preflight { environment = env }')
            assert.equal(2, run.status, run.all)
            assert.matches("looked", run.stdout)
            assert.matches("lacks the required secret DATABASE_URL", run.stderr)
            run = pipeline('print(env.secrets.SECRET_KEY) -- preflight\ndg.preflight {}')
            assert.equal(2, run.status, run.all)
            assert.matches("lacks the required secret DATABASE_URL", run.stderr)
            assert.is_false(fs.exists(project.dir / "changed"))
        end)

    it("waits for no other run when secrets are missing", function()
        local project = league.new()
        local held = project:run { "lock", "hold", "league-app", "--reason", "a test", "--sandbox" }
        assert.equal(0, held.status, held.all)
        project:write(".env.stage", "SECRET_KEY=long-enough-to-be-a-key\n")
        local run = project:run { "stage_deploy", "--sandbox" }
        assert.equal(3, run.status, run.all)
        assert.matches("1 problem in ", run.stderr)
        assert.matches("a test", project:run({ "lock", "list", "--sandbox" }).stdout)
    end)

    it("wants the files of cron machines, unless one is optional", function()
        local project = league.new()
        league.without_conditions(project)
        local run = project:run { "stage_deploy", "--ref", "v1.0.0", "--sandbox" }
        local at = run.all:match " does not exist; the cron" and run.all:match " at (%x+) does not"
        assert.equal(3, run.status, run.all)
        assert.matches("deploy/fly/fly.cron.payouts.stage.toml at " .. at .. " does not exist; the "
            .. "cron machine payouts-cron needs it", run.all, 1, true)
        league.without_conditions(project, "optional: true, ")
        run = project:run { "plan", "stage_deploy", "--ref", "v1.0.0", "--sandbox" }
        assert.equal(0, run.status, run.all)
        assert.matches("fly.cron.payouts.stage.toml at " .. at .. " does not exist: the cron "
            .. "machine payouts-cron stays unchanged", run.all, 1, true)
        assert.is_nil(run.all:find("create the cron machine payouts", 1, true))
        repository_paths_only(run)
    end)
end)
