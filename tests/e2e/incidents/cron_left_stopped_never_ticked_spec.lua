-- The workflow updated the cron machine so that it did not start at once, and left it stopped. Fly
-- starts no machine on schedule that was not started since its update: the news stood still for
-- eight hours, while the deploy was green.
local fast_project = require "support.fast_project"
local old_cron = require "support.old_cron"

local left_stopped = [[dg.step("Cron", function()
            local cron = cron_machine()
            cron.config.image = release.image
            update(cron, { skip_launch = true })
            wait(cron.id, "stopped")
        end)]]

local function updated_the_old_way()
    local project = fast_project.new()
    project:deploy("prod_deploy", "v1.2.0", project:image("one"))
    old_cron.rested(project)
    old_cron.write(project, left_stopped)
    local run = project:run("old_way", "--image", project:image("two"))
    assert.equal(0, run.status, run.text)
    return project
end

describe("a cron machine that is updated and left stopped", function()
    it("does not tick for eight hours, the old way, and the deploy is green", function()
        local project = updated_the_old_way()
        local before = old_cron.rested(project)
        assert.equal("two", before.image_ref.tag)
        assert.equal("hourly", before.config.schedule)
        for _ = 1, 8 do
            old_cron.pass(project, 1)
        end
        assert.equal(old_cron.starts(before), old_cron.starts(old_cron.rested(project)))

        local told = project:run("cron", "prod", "--check")
        assert.equal(3, told.status, told.text)
        assert.matches("it has not been started since its last update, [78]h[ %dm]* ago, so its "
            .. "schedule "
            .. "is paused", told.text)
    end)

    it("ticks each hour after an update by dgrun", function()
        local project = fast_project.new()
        project:deploy("prod_deploy", "v1.2.0", project:image("one"))
        old_cron.rested(project)
        project:deploy("prod_deploy", "v1.2.0", project:image("two"))
        local starts = old_cron.starts(old_cron.rested(project))
        for hour = 1, 3 do
            old_cron.pass(project, 1)
            assert.equal(starts + hour, old_cron.starts(old_cron.rested(project)))
        end
        local told = project:run("cron", "prod", "--check")
        assert.equal(0, told.status, told.text)
    end)

    it("is started by the next deploy of dgrun, though nothing else is to be done", function()
        local project = updated_the_old_way()
        old_cron.pass(project, 8)
        local run = project:deploy("prod_deploy", "v1.2.0", "registry.fly.io/draft-app-prod:two")
        assert.matches("the cron machine news-ingestion-cron", run.text, 1, true)
        local starts = old_cron.starts(old_cron.rested(project))
        old_cron.pass(project, 1)
        assert.equal(starts + 1, old_cron.starts(old_cron.rested(project)))
    end)
end)
