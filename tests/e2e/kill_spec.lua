-- A run that is killed leaves nothing that the next one does not find and settle.
local full_it = require("support.matrix").full_it
local interrupt = require "support.interrupted"
local sample = require "support.sample"

local deploy = { "--sandbox", "prod_deploy", "--ref", "v1.2.0" }

local function interrupted(project, text, signal)
    return interrupt.run(project, deploy, text, signal)
end

local function converges(project)
    local run = project:run(deploy)
    assert.equal(0, run.status, run.all)
    assert.same({ { version_num = "9caf00c0de09" } },
        project:query("prod.db", "SELECT version_num FROM alembic_version"))
    project:with_fly(function(call)
        local _, machines = call("GET", "/v1/apps/draft-app-prod/machines")
        assert.equal(3, #machines)
        local _, secrets = call("GET", "/v1/apps/draft-app-prod/secrets")
        assert.equal(5, #secrets.secrets)
    end)
    local again = project:run(deploy)
    assert.equal(0, again.status, again.all)
    assert.matches("Nothing changed", again.stdout)
end

describe("a deploy that is killed", function()
    local ways = { ["the next one"] = deploy, itself = { "resume" } }
    ---One of each way for the quick tests: within a migration, and between machines.
    local quick = { ["Running upgrade 3c4f00c0de03"] = "itself",
        ["create a machine of group app"] = "the next one" }

    for _, text in ipairs {
        "Running upgrade 3c4f00c0de03", "set ACCESS_LOG", "build image", "create a release",
        "run the release command", "create a machine of group app", "create the cron machine",
        "answered 200",
    } do
        for way, again in pairs(ways) do
            local declare = quick[text] == way and it or full_it
            declare(("at '%s' is finished by %s"):format(text, way), function()
                local project = sample.new { fresh = true }
                assert.equal(9, interrupted(project, text, "SIGKILL").signal)
                interrupt.wait_for_no_process(project)
                local run = project:run(again)
                -- At the last of these texts it may have ended before the signal came.
                if run.status == 2 and run.all:find("no interrupted run", 1, true) then
                    run = project:run(deploy)
                end
                assert.equal(0, run.status, run.all)
                converges(project)
            end)
        end
    end
end)

describe("a deploy that is interrupted", function()
    for signal, status in pairs { SIGINT = 130, SIGTERM = 143 } do
        local declare = signal == "SIGTERM" and it or full_it
        declare(("by %s says what was done, and what to do next"):format(signal), function()
            local project = sample.new { fresh = true }
            local exit, all = interrupted(project, "create a machine of group app", signal)
            assert.equal(status, exit.status, all)
            assert.matches("apply 9 revisions", all, 1, true)
            assert.matches("started, but may not have finished", all, 1, true)
            local id = all:match("next   Continue where it stopped: dgrun resume (%S+)")
            assert.is_string(id, all)
            interrupt.wait_for_no_process(project)
            local resumed = project:run { "resume" }
            assert.equal(0, resumed.status, resumed.all)
            assert.matches("attempt 2 of " .. id, resumed.all, 1, true)
            assert.matches("Checkout  already done", resumed.all, 1, true)
            converges(project)
        end)
    end
end)
