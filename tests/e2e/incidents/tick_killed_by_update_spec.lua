-- A deploy came while the cron job was at work, and the update of the machine killed it: half of
-- the feed was taken in, nobody was told, and the deploy was green.
local fast_project = require "support.fast_project"
local old_cron = require "support.old_cron"

local NAME = "news%-ingestion%-cron"
local DONE = "all items are taken in"
local COMMAND = "/app/.venv/bin/python -m app.cli.cron_runner"

local at_once = [[dg.step("Cron", function()
            local cron = cron_machine()
            cron.config.image = release.image
            update(cron)
        end)]]

---Version one runs in production, and a tick of its cron machine goes on until it is told to end.
local function ticking(wait)
    local project = fast_project.new()
    local fs = require "host.fs"
    local file = "scripts/environments.yaml"
    local text = assert(fs.read(project.dir / file))
    project:write(file, (text:gsub("wait: 30m", "wait: " .. wait)))
    project:deploy("prod_deploy", "v1.2.0",
        project:image("one", { commands = { [COMMAND] = {
            seconds = 3600, log_at_end = { DONE } } } }))
    local _, crons = project:machines()
    local own = "/v1/apps/draft-app-prod/machines/" .. crons[1].id
    assert.equal(200, (project:call("GET", own .. "/wait?state=started&timeout=30")))
    local function end_tick()
        assert.equal(200, (project:call("POST", own .. "/signal", { signal = "SIGTERM" })))
    end
    return project, project:image("two"), end_tick
end

---Runs a deploy; `on_wait` is called once it waits for the tick, as often as it does.
local function deploy(project, image, on_wait)
    local client = project.field:spawn { "prod_deploy", "--ref", "v1.2.0", "--image", image }
    local lines = {}
    for line in function() return client:read() end do
        lines[#lines + 1] = line.line
        if line.line:find("is running its job; waiting up to", 1, true) then
            on_wait()
        end
    end
    return client:wait().status, table.concat(lines, "\n")
end

describe("an update of a cron machine whose job is at work", function()
    it("kills the job, the old way, and the deploy is green", function()
        local project, image = ticking "30m"
        old_cron.write(project, at_once)
        local run = project:run("old_way", "--image", image)
        assert.equal(0, run.status, run.text)
        local machine = old_cron.rested(project)
        assert.equal("two", machine.image_ref.tag)
        -- What had begun never came to its end.
        assert.is_nil(old_cron.log(project, machine):find(DONE, 1, true))
    end)

    it("waits for its end, with dgrun", function()
        local project, image, end_tick = ticking "30m"
        local status, text = deploy(project, image, end_tick)
        assert.equal(0, status, text)
        local machine = old_cron.rested(project)
        assert.equal("two", machine.image_ref.tag)
        assert.matches(DONE, old_cron.log(project, machine), 1, true)
        -- And its schedule goes on.
        local starts = old_cron.starts(machine)
        old_cron.pass(project, 1)
        assert.equal(starts + 1, old_cron.starts(old_cron.rested(project)))
    end)

    it("gets a second chance at the end of the deploy", function()
        local project, image, end_tick = ticking "1s"
        local waits = 0
        local status, text = deploy(project, image, function()
            waits = waits + 1
            if waits == 2 then
                end_tick()
            end
        end)
        assert.equal(0, status, text)
        assert.matches(NAME .. " is still running its job; leaving the machine unchanged", text)
        assert.equal("two", old_cron.rested(project).image_ref.tag)
    end)

    it("is not made when it takes too long, and the deploy says so", function()
        local project, image, end_tick = ticking "1s"
        local status, text = deploy(project, image, function() end)
        assert.equal(1, status, text)
        assert.matches(NAME .. ": it runs draft%-app%-prod:one@%S+, not draft%-app%-prod:two",
            text)
        -- The job is still at work, and comes to its end.
        local _, crons = project:machines()
        assert.equal("started", crons[1].state)
        end_tick()
        local machine = old_cron.rested(project)
        assert.matches(DONE, old_cron.log(project, machine), 1, true)
        assert.equal(1, old_cron.starts(machine))
    end)
end)
