-- The API timed out, the site was healthy, the job failed before its own checks. All was well, and
-- the team looked for what was broken.
local http = require "host.http"
local pipelines = require "support.pipelines"
local task = require "dgrun.core.task"

---What the workflow did: one call for each machine, whose exit was the verdict; then its checks.
local old_way = [[
local dg = require "dgrun"
local api = dg.fly.api
local machines = "/v1/apps/draft-app-prod/machines"

return dg.pipeline {
    description = "Update each machine, then check the site",
    inputs = { image = { required = true } },
    run = function(input)
        dg.step("Update", function()
            for _, machine in ipairs(api.machines("GET", machines)) do
                if not machine.config.schedule then
                    machine.config.image = input.image
                    api.machines("POST", machines .. "/" .. machine.id, { once = true,
                        json = { region = machine.region, config = machine.config } })
                end
            end
        end)
        dg.step("Check", function()
            dg.probe.http { url = "https://draft-app-prod.fly.dev/health", within = 20 }
        end)
    end,
}
]]

local IMAGE = "registry.fly.io/draft-app-prod:two"
local prod_deploy = { "prod_deploy", "--ref", "v1.2.0", "--image", IMAGE }

---The update of the second machine is carried out, and nobody hears of it.
local lost_update = { method = "POST", path = "/draft%-app%-prod/machines/%x+$", after = 1,
    when = "after" }

local function lose(field, how)
    for name, value in pairs(lost_update) do
        how[name] = how[name] or value
    end
    local status, answer = field:call("POST", "/sandbox/v1/faults", how)
    assert(status == 200, answer and answer.error)
end

---The tags of the images of the web machines, once they have settled, and what the site answers.
local function world(field)
    local tags
    task.timeout(20, function()
        local settled
        repeat
            settled, tags = true, {}
            local _, list = field:call("GET", "/v1/apps/draft-app-prod/machines")
            for _, machine in ipairs(list) do
                if not machine.config.schedule then
                    tags[#tags + 1] = machine.image_ref.tag
                    local check = (machine.checks or {})[1]
                    settled = settled and machine.state == "started" and check ~= nil
                        and check.status == "passing"
                end
            end
            task.sleep(settled and 0 or 0.01)
        until settled
    end)
    local site = field.fly.url .. "/sandbox/site/draft-app-prod/health"
    return tags, assert(http.request { url = site }).status
end

local function with_field(template, body)
    task.scope(function()
        local field = pipelines.field(template)
        assert(require("host.fs").write(field.dir / "scripts/old_way.lua", old_way))
        body(field)
    end)
end

local losses = {
    { name = "the answer is lost", reset = true },
    { name = "a gateway gives up", status = 504, times = 2 },
    { name = "half of the answer comes", cut = true },
}

local function fails_the_old_way(field)
    lose(field, { reset = true })
    local run = field:run { "old_way", "--image", IMAGE }
    assert.equal(1, run.status, run.text)
    assert.is_nil(run.text:find("answered 200", 1, true), run.text)
    -- And yet all is well.
    local tags, status = world(field)
    assert.same({ "two", "two" }, tags)
    assert.equal(200, status)
end

local function is_right_with_dgrun(field, loss)
    lose(field, { reset = loss.reset, status = loss.status, times = loss.times, cut = loss.cut })
    -- For a while it is as slow to tell about them.
    lose(field, { method = "GET", path = "/draft%-app%-prod/machines/%x+", after = 0,
        status = 504, times = 2, when = "before" })
    local run = field:run(prod_deploy)
    assert.equal(0, run.status, run.text)
    assert.matches("draft%-app%-prod.fly.dev/health answered 200", run.text)
    local tags, status = world(field)
    assert.same({ "two", "two" }, tags)
    assert.equal(200, status)
    local _, releases = field:call("GET", "/api/v1/apps/draft-app-prod/releases")
    assert.equal("complete", releases.releases[1].status)
    assert.equal(2, #releases.releases)
    -- What was done was not done again: each stands once as it happens, and in the summary.
    local _, updates = run.text:gsub("~ update machine %x+ of group", "")
    assert.equal(2 * 2, updates, run.text)
    assert.matches("Nothing changed", field:run(prod_deploy).text)
end

describe("the API timed out, the site was healthy:", function()
    teardown(pipelines.forget_templates)

    it("the old way fails before its own checks; dgrun reads again, and asks the site", function()
        local template = pipelines.templates().old
        with_field(template, fails_the_old_way)
        for _, loss in ipairs(losses) do
            with_field(template, function(field) is_right_with_dgrun(field, loss) end)
        end
    end)
end)
