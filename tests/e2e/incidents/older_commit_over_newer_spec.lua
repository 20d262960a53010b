-- An older commit overwrote a newer one, twice in a week: a re-run of an old job, and a job that
-- had waited in the queue. Each was green, and production went back in time.
local fast_project = require "support.fast_project"

---How it was done: whatever ref the job is about is deployed.
local old_way = [[
local dg = require "dgrun"
local env = dg.environment "prod"

return dg.pipeline {
    description = "Production, as the workflow did it",
    inputs = { ref = {}, image = {} },
    run = function(input)
        local source = dg.step("Checkout", function()
            return dg.git.checkout { ref = input.ref }
        end)
        dg.step("Migrate", function()
            return dg.migrations.upgrade { dir = source.dir,
                database = env.secrets.DATABASE_URL }
        end)
        dg.step("Secrets", function()
            return dg.secrets.sync { app = env.app, secrets = env.secrets }
        end)
        dg.step("Deploy", function()
            return dg.fly.deploy { app = env.app, config = source.dir / env.config,
                commit = source.commit, image = input.image }
        end)
        dg.step("Verify", function() dg.probe.http { url = env.url / "health", expect = 200 } end)
    end,
}
]]

local back = [[
local dg = require "dgrun"

return dg.pipeline {
    description = "Production, back to the release before",
    run = function() dg.fly.rollback { app = "draft-app-prod", to = 1 } end,
}
]]

local function project_with_images()
    local project = fast_project.new()
    return project, project:image("older", { body = "older" }),
        project:image("newer", { body = "newer" })
end

describe("an older commit", function()
    it("overwrites a newer one, the old way, twice: green", function()
        local project, older, newer = project_with_images()
        project:write("scripts/old_way.lua", old_way)
        for _ = 1, 2 do
            project:deploy("old_way", "main", newer)
            assert.equal("newer", project:labels())
            project:deploy("old_way", "v1.2.0", older)
            assert.equal("older", project:labels())
        end
    end)

    it("is refused where a newer one runs, and changes nothing", function()
        local project, older, newer = project_with_images()
        project:deploy("prod_deploy", "main", newer)
        local refused = project:run("prod_deploy", "--ref", "v1.2.0", "--image", older)
        assert.equal(3, refused.status, refused.text)
        assert.matches("which is newer than", refused.text)
        assert.matches("nothing was changed", refused.text)
        assert.matches("--allow-older", refused.text, 1, true)
        assert.equal("newer", project:labels())
    end)

    it("goes out when that is meant: by a rollback, or with --allow-older", function()
        local project, older, newer = project_with_images()
        project:write("scripts/back.lua", back)
        project:deploy("prod_deploy", "v1.2.0", older)
        project:deploy("prod_deploy", "main", newer)
        local run = project:run "back"
        assert.equal(0, run.status, run.text)
        assert.equal("older", project:labels())

        project:deploy("prod_deploy", "main", newer)
        run = project:deploy("prod_deploy", "v1.2.0", older, "--allow-older")
        assert.matches("allowed", run.text)
        assert.equal("older", project:labels())
    end)
end)
