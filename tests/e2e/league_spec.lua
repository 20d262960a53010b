-- The shipped pipelines on the second sample, which has the habits of a grown application. Its
-- machines are simulated: the image has its port and its Python at fixed places.
local full_it = require("support.matrix").full_it
local interrupt = require "support.interrupted"
local league = require "support.league"

local HEAD_OF = { ["v1.2.0"] = "e9a0753014d3", ["v1.3.0"] = "a216a75c6725" }

local function deploy_words(name, ref, image)
    return { name .. "_deploy", "--ref", ref, "--image", image, "--sandbox" }
end

local function succeeds(project, argv)
    local run = project:run(argv)
    assert.equal(0, run.status, run.all)
    return run
end

---The first time it does something, the second time nothing.
local function twice(project, argv)
    local run = succeeds(project, argv)
    assert.is_nil(run.stdout:find("Nothing changed", 1, true), run.all)
    assert.matches("Nothing changed", succeeds(project, argv).stdout)
end

---What a deploy leaves, as text that is the same for the same state.
local function state(project, name, app)
    local lines = {}
    project:with_fly(function(call)
        local _, machines = call("GET", ("/v1/apps/%s/machines"):format(app))
        for _, machine in ipairs(machines) do
            local config = machine.config
            if machine.state ~= "destroyed" then
                lines[#lines + 1] = ("machine %s %s %s %s %s"):format(
                    config.metadata.dgrun_cron or config.metadata.fly_process_group,
                    config.image:match "[^@]+", tostring(config.schedule),
                    tostring(config.metadata.dgrun_commit),
                    require("dgrun.core.json").encode(config.init or {}))
            end
        end
        local _, secrets = call("GET", ("/v1/apps/%s/secrets"):format(app))
        for _, secret in ipairs(secrets.secrets) do
            lines[#lines + 1] = "secret " .. secret.name
        end
    end)
    for _, row in ipairs(project:query((".dgrun/%s.db"):format(name),
        "SELECT version_num FROM alembic_version")) do
        lines[#lines + 1] = "database " .. row.version_num
    end
    table.sort(lines)
    return table.concat(lines, "\n")
end

describe("the shipped pipelines on the league", function()
    for name, app in pairs { stage = "league-app", prod = "league-app-prod" } do
        local declare = name == "prod" and it or full_it
        declare(("work on %s, and twice without a change"):format(name), function()
            local project = league.new()
            local one, two = project:image("one", nil, app), project:image("two", nil, app)
            twice(project, deploy_words(name, "v1.2.0", one))
            assert.matches("3 cron machines match, 5 not created (gated)",
                succeeds(project, deploy_words(name, "v1.2.0", one)).all, 1, true)
            twice(project, deploy_words(name, "v1.3.0", two))
            assert.matches("database " .. HEAD_OF["v1.3.0"], state(project, name, app))

            local path = "scripts/environments.yaml"
            local environments = assert(project:read(path))
            project:write(path, (environments:gsub("schedule: weekly", "schedule: monthly")))
            twice(project, { "cron_setup", "--environment", name, "--ref", "v1.3.0", "--sandbox" })
            assert.matches("digest%-cron %S+ monthly", state(project, name, app))

            local status = succeeds(project, { "status", name, "--sandbox" })
            assert.matches(("%s  %s  fine"):format(name, app), status.stdout, 1, true)
            assert.matches("scores-cron: hourly", status.stdout, 1, true)
            assert.matches("/health/db 200", status.stdout, 1, true)

            local back = { "rollback", name, "--to", "1", "--despite-database", "a test",
                "--sandbox" }
            twice(project, back)
            local after = state(project, name, app)
            assert.matches("machine app registry.fly.io/" .. app .. ":one", after, 1, true)
            assert.matches("machine scores-cron registry.fly.io/" .. app .. ":one", after, 1, true)
            -- Nobody said that the machines of the drafts may be created.
            for _, gated in ipairs { "audit", "open%-drafts", "close%-drafts", "payouts",
                "standings" } do
                assert.is_nil(after:find("machine " .. gated .. "%-cron"))
            end
            assert.matches("database " .. HEAD_OF["v1.3.0"], after)
        end)
    end

    it("leave cron machines alone whose files a commit does not have", function()
        local project = league.new()
        league.without_conditions(project, "optional: true, ")
        local app = "league-app"
        local one, two = project:image("one", nil, app), project:image("two", nil, app)
        twice(project, deploy_words("stage", "v1.0.0", one))
        assert.is_nil(state(project, "stage", app):find("payouts", 1, true))
        succeeds(project, deploy_words("stage", "v1.2.0", two))
        local payouts = "machine payouts-cron registry.fly.io/league-app:two daily"
        assert.matches(payouts, state(project, "stage", app), 1, true)

        local back = succeeds(project, { "rollback", "stage", "--despite-database", "a test",
            "--sandbox" })
        assert.matches("payouts-cron stays unchanged: deploy/fly/fly.cron.payouts.stage.toml at ",
            back.all, 1, true)
        local after = state(project, "stage", app)
        assert.matches(payouts, after, 1, true)
        assert.matches("machine news-cron registry.fly.io/league-app:one", after, 1, true)
    end)

    it("refuse a commit with two heads before the first change", function()
        local project = league.new()
        league.without_conditions(project, "optional: true, ")
        league.without_target(project)
        local image = project:image("one", nil, "league-app")
        local run = project:run(deploy_words("stage", "v1.1.0", image))
        assert.equal(3, run.status, run.all)
        assert.matches("have 2 heads: 50901d00e121 and e2e8f63d2053", run.all, 1, true)
        assert.matches("nothing was changed", run.all, 1, true)
    end)
end)

describe("a deploy of the league that is killed and resumed", function()
    local undisturbed

    before_each(function()
        if not undisturbed then
            local project = league.new()
            local image = project:image("one", nil, "league-app-prod")
            succeeds(project, deploy_words("prod", "v1.3.0", image))
            undisturbed = state(project, "prod", "league-app-prod")
        end
    end)

    for _, text in ipairs { "Running upgrade 01a9c8ee128e", "set ACCESS_LOG", "create a release",
        "create a machine of group app", "create the cron machine scores-cron" } do
        -- Within a migration; what the other sample does not show.
        local declare = text:find "^Running upgrade" and it or full_it
        declare(("ends in the same state: at '%s'"):format(text), function()
            local project = league.new()
            local argv = deploy_words("prod", "v1.3.0", project:image("one", nil,
                "league-app-prod"))
            assert.equal(9, interrupt.run(project, argv, text, "SIGKILL").signal)
            interrupt.wait_for_no_process(project)
            succeeds(project, { "resume" })
            assert.equal(undisturbed, state(project, "prod", "league-app-prod"))
            assert.matches("Nothing changed", succeeds(project, argv).stdout)
        end)
    end
end)
