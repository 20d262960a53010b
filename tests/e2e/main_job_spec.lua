local sample = require "support.sample"

local function machines_of(project, app)
    local all
    project:with_fly(function(call)
        local _, list = call("GET", "/v1/apps/" .. app .. "/machines")
        all = list
    end)
    local web, cron = {}, {}
    for _, machine in ipairs(all) do
        table.insert(machine.config.schedule and cron or web, machine)
    end
    return web, cron
end

local function ticks_for_real(project)
    project:with_fly(function(call)
        local _, all = call("GET", "/v1/apps/draft-app-prod/machines")
        for _, machine in ipairs(all) do
            if machine.config.schedule then
                local path = "/v1/apps/draft-app-prod/machines/" .. machine.id
                call("GET", path .. "/wait?state=stopped&timeout=30")
                local _, after = call("GET", path)
                local exit
                for _, event in ipairs(after.events) do
                    exit = exit or (event.type == "exit" and event.request.exit_event)
                end
                assert.equal(0, exit.exit_code)
            end
        end
    end)
    assert.equal(3, project:query("prod.db", "SELECT count(*) AS n FROM news")[1].n)
end

describe("the main job", function()
    it("deploys a tag to production, runs ticks, changes nothing, makes a cron machine", function()
        local project = sample.new { fresh = true }
        local early = project:run { "--sandbox", "cron_setup", "--environment", "prod" }
        assert.equal(1, early.status)
        assert.matches("Deploy the app first", early.stderr)

        local run = project:run { "--sandbox", "prod_deploy", "--ref", "v1.2.0" }
        assert.equal(0, run.status, run.all)
        assert.matches("8 created, 1 updated, 1 run", run.stdout)
        assert.matches("release%s+v1 of draft%-app%-prod", run.stdout)

        local rows = project:query("prod.db", "SELECT version_num FROM alembic_version")
        assert.same({ { version_num = "9caf00c0de09" } }, rows)

        local web, cron = machines_of(project, "draft-app-prod")
        assert.equal(2, #web)
        assert.equal(1, #cron)
        assert.equal("started", web[1].state)
        assert.equal("passing", web[1].checks[1].status)
        assert.equal("hourly", cron[1].config.schedule)
        assert.equal(web[1].image_ref.digest, cron[1].image_ref.digest)
        assert.equal("v2", web[1].config.metadata.fly_platform_version)
        assert.is_nil(cron[1].config.metadata.fly_platform_version)
        assert.equal(40, #web[1].config.metadata.dgrun_commit)

        ticks_for_real(project)

        local again = project:run { "--sandbox", "prod_deploy", "--ref", "v1.2.0" }
        assert.equal(0, again.status, again.all)
        assert.matches("Nothing changed", again.stdout)
        project:with_fly(function(call)
            local _, releases = call("GET", "/api/v1/apps/draft-app-prod/releases")
            assert.equal(1, #releases.releases)
            assert.equal("complete", releases.releases[1].status)
            local _, secrets = call("GET", "/v1/apps/draft-app-prod/secrets")
            assert.equal(5, #secrets.secrets)
        end)

        local before = cron
        project:with_fly(function(call)
            local path = "/v1/apps/draft-app-prod/machines/" .. before[1].id
            call("DELETE", path .. "?force=true")
            call("GET", path .. "/wait?state=destroyed&timeout=30")
        end)
        run = project:run { "--sandbox", "cron_setup", "--environment", "prod",
            "--ref", "v1.2.0" }
        assert.equal(0, run.status, run.all)
        web, cron = machines_of(project, "draft-app-prod")
        assert.equal(1, #cron)
        assert.are_not.equal(before[1].id, cron[1].id)
        assert.equal(web[1].image_ref.digest, cron[1].image_ref.digest)
    end)

    it("updates what runs, and refuses to go back", function()
        local project = sample.new { fresh = true }
        local one, two = project:image "one", project:image "two"
        assert.equal(0, project:run({ "--sandbox", "prod_deploy", "--ref", "v1.1.0", "--image",
            one }).status)
        local update = project:run { "--sandbox", "prod_deploy", "--image", two }
        assert.equal(0, update.status, update.all)
        assert.matches("update machine", update.stdout)
        assert.matches("release%s+v2 of", update.stdout)

        local back = project:run { "--sandbox", "prod_deploy", "--ref", "v1.1.0" }
        assert.equal(3, back.status)
        assert.matches("which is newer than", back.stderr)
        assert.matches("%-%-allow%-older", back.stderr)
    end)

    it("deploys to staging: secrets before the first deploy, then behind it", function()
        local project = sample.new()
        local deploy = { "--sandbox", "stage_deploy", "--ref", "v1.2.0", "--image",
            project:image("one", nil, "draft-app") }
        local run = project:run(deploy)
        assert.equal(0, run.status, run.all)
        local web, cron = machines_of(project, "draft-app")
        assert.equal(2, #web)
        assert.equal("daily", cron[1].config.schedule)

        project:write(".env.stage", project:read(".env.stage") .. "GEMINI_API_KEY=new-gemini-key\n")
        local changed = project:run(deploy)
        assert.equal(0, changed.status, changed.all)
        assert.matches("set GEMINI_API_KEY", changed.stdout)
        -- All machines of the app get them, the cron machine too.
        local _, updates = changed.stdout:gsub("with the new secrets", "")
        assert.equal(3, updates)
        web, cron = machines_of(project, "draft-app")
        assert.equal(web[1].config.metadata.dgrun_secrets, cron[1].config.metadata.dgrun_secrets)
        local again = project:run(deploy)
        assert.matches("Nothing changed", again.stdout)
    end)
end)
