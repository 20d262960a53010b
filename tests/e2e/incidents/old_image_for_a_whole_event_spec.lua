-- Production ran a 3.5-day-old image for a whole event and nobody knew: the workflow deployed what
-- a moving label of the registry meant, and the label had not moved. It was green each time.
local fast_project = require "support.fast_project"
local json = require "dgrun.core.json"

---How it was done: deploy the label, ask the site, be content.
local old_way = [[
local dg = require "dgrun"
local env = dg.environment "prod"

return dg.pipeline {
    description = "Production, as the workflow did it",
    run = function()
        dg.step("Secrets", function()
            return dg.secrets.sync { app = env.app, secrets = env.secrets }
        end)
        dg.step("Deploy", function()
            return dg.fly.deploy { app = env.app, config = env.config,
                image = "registry.fly.io/draft-app-prod:production" }
        end)
        dg.step("Verify", function() dg.probe.http { url = env.url / "health", expect = 200 } end)
    end,
}
]]

describe("an image that is 3.5 days old", function()
    it("runs for a whole event, the old way: green, and nobody knows", function()
        local project = fast_project.new()
        project:write("scripts/old_way.lua", old_way)
        project:image("production", { body = "<h1>Three days ago</h1>" })
        project:commit("Three days ago", 84)
        for _, subject in ipairs { "The schedule of the event", "The event begins" } do
            project:commit(subject, 1)
            local run = project:run "old_way"
            assert.equal(0, run.status, run.text)
        end
        assert.equal("production", project:labels())
        -- Even of such machines a monitor does not say that all is well.
        local monitor = project:run("status", "prod", "--max-age", "48h")
        assert.equal(1, monitor.status, monitor.text)
        assert.matches("do not report a commit", monitor.text)
    end)

    it("is told with its commit, its age and what it lacks, and ends a monitor with 3", function()
        local project = fast_project.new()
        local function status(...)
            return project:run("status", "prod", ...)
        end
        local old = project:commit("Three days ago", 84)
        project:deploy("prod_deploy", "main", project:image("old", { body = "x" }))
        for _, subject in ipairs { "The schedule", "The players", "The event begins" } do
            project:commit(subject, 1)
        end

        local told = status()
        assert.equal(0, told.status, told.text)
        for _, text in ipairs { old:sub(1, 12), "Three days ago", "3d 12h", "Ada Author",
            "3 behind origin/main" } do
            assert.matches(text, told.text, 1, true)
        end
        assert.is_nil(told.text:find "The players")
        assert.matches("The players", status("-v").text)

        local monitor = status("--max-age", "48h")
        assert.equal(3, monitor.status, monitor.text)
        assert.matches("prod.*3d 12h", monitor.text)
        monitor = status("--max-behind", "2")
        assert.equal(3, monitor.status, monitor.text)
        assert.matches("prod.*3 commits behind", monitor.text)
        local inside = status("--max-age", "4d", "--max-behind", "3")
        assert.equal(0, inside.status, inside.text)

        local deployed = json.decode(status("--json").text).environments[1].commit
        assert.equal(old, deployed.commit)
        assert.equal(3, deployed.behind)
        assert.is_true(deployed.age > 83 * 3600 and deployed.age < 85 * 3600)

        project:deploy("prod_deploy", "main", project:image("new", { body = "y" }))
        monitor = status("--max-age", "48h", "--max-behind", "0")
        assert.equal(0, monitor.status, monitor.text)
    end)
end)
