local fast_project = require "support.fast_project"
local json = require "dgrun.core.json"
local old_cron = require "support.old_cron"

local COMMAND = "/app/.venv/bin/python -m app.cli.cron_runner"
local MACHINES = "/v1/apps/draft-app-prod/machines"

---Production with one cron machine that has ticked.
---@param behaviour? table of its command; a deploy notices one that does not end well
local function deployed(behaviour)
    local project = fast_project.new()
    local run = project:run("prod_deploy", "--ref", "v1.2.0", "--image",
        project:image("one", { commands = { [COMMAND] = behaviour } }))
    assert.equal(behaviour and 1 or 0, run.status, run.text)
    return project, old_cron.rested(project)
end

local function stray(project)
    local status, machine = project:call("POST", MACHINES, { name = "old-job",
        config = { image = "registry.fly.io/draft-app-prod:one", schedule = "daily" } })
    assert.equal(200, status)
    assert.equal(200, (project:call("GET", MACHINES .. "/" .. machine.id
        .. "/wait?state=stopped&timeout=30")))
    return machine
end

describe("dgrun cron", function()
    it("lists the machines of all environments with their ticks", function()
        local project, machine = deployed()
        local text = project:run("cron").text
        assert.matches("prod  draft%-app%-prod\n", text)
        assert.matches("news%-ingestion%-cron +hourly +%d+s ago +0 +~ in %d+[hm] +one %(%d+s old%)"
            .. " +stopped +" .. machine.id, text)
        assert.matches("stage  draft%-app\n.*news%-ingestion%-cron +daily.*missing", text)
        assert.matches("! it does not exist", text)

        local status = project:run("cron", "--check")
        assert.equal(3, status.status)
        assert.equal(0, project:run("cron", "prod", "--check").status)
        assert.equal(2, project:run("cron", "prd").status)
    end)

    it("prints JSON of the same", function()
        local project, machine = deployed()
        stray(project)
        local run = project:run("cron", "prod", "--json")
        assert.equal(0, run.status)
        local places = json.decode(run.text)
        assert.equal(1, #places)
        assert.equal("draft-app-prod", places[1].app)
        local row, extra = places[1].crons[1], places[1].crons[2]
        assert.equal("declared", row.kind)
        assert.equal(machine.id, row.machine)
        assert.equal(0, row.exit_code)
        assert.is_false(row.overdue)
        assert.matches("@sha256:%x+$", row.image)
        assert.matches("^%d+%-%d+%-%d+T", row.last_tick)
        assert.matches("^%d+%-%d+%-%d+T", row.next_tick)
        assert.same({}, row.problems)
        assert.equal("stray", extra.kind)
        assert.equal("old-job", extra.name)
    end)

    it("says of an environment that cannot be asked just that", function()
        local project = deployed()
        project:call("POST", "/sandbox/v1/faults", { path = "^/v1/apps/draft%-app/", status = 500,
            times = 1000 })
        local run = project:run "cron"
        assert.equal(1, run.status, run.text)
        assert.matches("prod  draft%-app%-prod\n.*one %(", run.text)
        assert.matches("stage  draft%-app\n  unknown: .*500", run.text)
    end)

    it("runs a job by hand, tells what it writes and ends with its exit code", function()
        local project, machine = deployed { exit_code = 5, log = { "three items" } }
        local run = project:run("cron", "run", "prod", "news-ingestion-cron")
        assert.equal(5, run.status, run.text)
        assert.matches("run news-ingestion-cron once, on a separate machine: " .. COMMAND,
            run.text, 1, true)
        assert.matches("\nthree items\n", run.text)
        assert.matches("the command exited with code 5", run.text)
        local _, after = project:call("GET", MACHINES .. "/" .. machine.id)
        assert.equal(machine.events[1].id, after.events[1].id)

        run = project:run("cron", "run", "prod", "news-ingestion-crn")
        assert.equal(1, run.status)
        assert.matches("Did you mean 'news%-ingestion%-cron'", run.text)
        assert.equal(2, project:run("cron", "run", "prod").status)
    end)

    it("leaves the job alone when it is interrupted, and follows it the next time", function()
        local project = deployed()
        -- A second image, whose job goes on until it is told to end.
        local image = project:image("slow", { commands = { [COMMAND] = { seconds = 3600,
            log = { "at work" }, log_at_end = { "all is taken in" } } } })
        project:run("cron", "image", "prod", "--image", image)
        local argv = { "cron", "run", "prod", "news-ingestion-cron", "--beside" }

        ---Runs it; `on_work` is called when the job has said something.
        local function run(on_work)
            local client, lines = project.field:spawn(argv), {}
            for line in function() return client:read() end do
                lines[#lines + 1] = line.line
                if line.line == "at work" then
                    on_work(client)
                end
            end
            return client:wait().status, table.concat(lines, "\n")
        end
        local function copies()
            local _, list = project:call("GET", MACHINES)
            local found = {}
            for _, one in ipairs(list) do
                found[#found + 1] = one.config.metadata.dgrun_job and one.id or nil
            end
            return found
        end
        local status, text = run(function(client) client:kill "INT" end)
        assert.equal(130, status, text)
        local left = copies()
        assert.equal(1, #left)
        assert.matches("The job continues on machine " .. left[1], text, 1, true)

        status, text = run(function()
            assert.equal(200, (project:call("POST", MACHINES .. "/" .. left[1] .. "/signal",
                { signal = "SIGTERM" })))
        end)
        assert.equal(0, status, text)
        assert.matches("is already running on machine " .. left[1], text, 1, true)
        assert.matches("all is taken in", text, 1, true)
        assert.same({}, copies())
    end)

    it("removes a machine that nobody declares, and no other", function()
        local project, machine = deployed()
        local extra = stray(project)
        local run = project:run("cron", "remove", "prod", "news-ingestion-cron")
        assert.equal(3, run.status, run.text)
        assert.matches("Remove the declaration from environments.yaml first", run.text)
        run = project:run("cron", "remove", "prod", "old-job")
        assert.equal(0, run.status, run.text)
        assert.matches(extra.id .. " was removed", run.text)
        assert.equal(200, (project:call("GET", MACHINES .. "/" .. extra.id
            .. "/wait?state=destroyed&timeout=30")))
        assert.equal(machine.id, old_cron.rested(project).id)
    end)

    it("brings the image of the web machines to them, and starts them again", function()
        local project, machine = deployed()
        project:image "two"
        project:write("scripts/web_only.lua", [[
            local dg = require "dgrun"
            dg.fly.deploy { app = "draft-app-prod", config = "fly.prod.toml",
                image = "registry.fly.io/draft-app-prod:two" }]])
        assert.equal(0, project:run("web_only").status)
        local run = project:run("cron", "image", "prod")
        assert.equal(0, run.status, run.text)
        assert.matches(machine.id .. "  updated and started", run.text, 1, true)
        local after = old_cron.rested(project)
        assert.equal("two", after.image_ref.tag)
        assert.equal(old_cron.starts(machine) + 1, old_cron.starts(after))
        assert.matches("already has this image", project:run("cron", "image", "prod").text)
    end)

    it("is described in the help", function()
        local project = fast_project.new()
        local text = project:run("help", "cron").text
        for _, words in ipairs { "list [WHERE...]", "image WHERE [NAME]", "run WHERE NAME",
            "remove WHERE MACHINE" } do
            assert.matches(words, text, 1, true)
        end
        assert.matches("--beside", project:run("help", "cron", "run").text, 1, true)
    end)
end)
