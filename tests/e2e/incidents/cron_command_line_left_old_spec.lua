-- The module of the cron job was renamed, its command line with it. The workflow updated only the
-- image of the cron machine: it went on with the old command line, every tick died, and the deploy
-- was green.
local fast_project = require "support.fast_project"
local old_cron = require "support.old_cron"
local repository = require "support.repository"

local OLD = "/app/.venv/bin/python -m app.cli.cron_runner"
local NEW = "/app/.venv/bin/python -m app.cli.ingest"

local image_only = [[dg.step("Cron image", function()
            local cron = cron_machine()
            cron.config.image = release.image
            update(cron, { skip_launch = true })
            wait(cron.id, "stopped")
            api.machines("POST", machines .. "/" .. cron.id .. "/start")
        end)]]

---Version one runs in production; version two is on main, with another command line.
local function renamed()
    local project = fast_project.new()
    project:deploy("prod_deploy", "v1.2.0", project:image("one"))
    old_cron.rested(project)
    local file = "fly.cron.toml"
    local text = assert(require("host.fs").read(project.dir / file))
    repository.commit(project.dir, { [file] = text:gsub("cron_runner", "ingest") }, "A new name")
    repository.git(project.dir, { "push", "-q", "origin", "main" })
    return project, project:image("two", { commands = { [OLD] = { exit_code = 1,
        log = { "No module named app.cli.cron_runner" } } } })
end

describe("a cron machine that keeps an old command line", function()
    it("lets every tick die, the old way, and the deploy is green", function()
        local project, image = renamed()
        old_cron.write(project, image_only)
        local run = project:run("old_way", "--image", image)
        assert.equal(0, run.status, run.text)
        local machine = old_cron.rested(project)
        assert.equal(OLD, table.concat(machine.config.init.cmd, " "))
        assert.equal(1, old_cron.exit_code(machine))
        old_cron.pass(project, 1)
        assert.equal(1, old_cron.exit_code(old_cron.rested(project)))

        -- It can be seen from outside, with what is wrong and with what the job said.
        local told = project:run("cron", "prod", "--check")
        assert.equal(3, told.status, told.text)
        assert.matches("its command is `" .. OLD .. "`, but `" .. NEW .. "` is "
            .. "declared", told.text, 1,
            true)
        assert.matches("ended with exit code 1", told.text)
    end)

    it("gets its whole declaration from dgrun, and ticks", function()
        local project, image = renamed()
        local run = project:deploy("prod_deploy", "main", image)
        assert.matches("update the cron machine news-ingestion-cron", run.text, 1, true)
        local machine = old_cron.rested(project)
        assert.equal(NEW, table.concat(machine.config.init.cmd, " "))
        assert.equal(0, old_cron.exit_code(machine))
        local told = project:run("cron", "prod", "--check")
        assert.equal(0, told.status, told.text)
    end)

    it("fails the deploy when its ticks die for whatever reason, with their log", function()
        local project = renamed()
        local image = project:image("three", { commands = { [NEW] = { exit_code = 1,
            log = { "No module named feedparser" } } } })
        local run = project:run("prod_deploy", "--ref", "main", "--image", image)
        assert.equal(1, run.status, run.text)
        assert.matches("news%-ingestion%-cron: its last job run, %d+s ago, ended with exit code 1",
            run.text)
        assert.matches("No module named feedparser", run.text)
    end)

    it("is told when only its image is updated by hand", function()
        local project, image = renamed()
        local run = project:run("cron", "image", "prod", "--image", image)
        assert.equal(3, run.status, run.text)
        assert.matches("apart from the image, some settings differ from the declaration", run.text)
        assert.matches("dgrun --sandbox cron_setup", run.text, 1, true)
    end)
end)
