-- The port of a team's workflows to Lua, tests/fixtures/league/scripts/: releases with data scripts
-- and gates, a daily look at production, review apps with branches of a hosted database.
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local host_task = require "host.task"
local interrupt = require "support.interrupted"
local json = require "dgrun.core.json"
local league = require "support.league"
local task = require "dgrun.core.task"

local function succeeds(project, argv, env)
    local run = project:run(argv, { env = env })
    assert.equal(0, run.status, run.all)
    return run
end

---The APIs of a hosted database and of GitHub: what they hold, and their address.
local function services(database)
    local server = assert(require("host.server").listen {})
    local held = { branches = {}, comments = {} }
    local answers = {}
    function answers.GET(name)
        return held.branches[name] and { url = held.branches[name] }
    end
    function answers.PUT(name)
        held.branches[name] = database
        return { url = database }
    end
    function answers.DELETE(name)
        held.branches[name] = nil
        return {}
    end
    local serving = host_task.spawn(function()
        while true do
            local request = server:accept()
            if not request then
                return
            end
            local name = request.path:match "^/branches/(.+)$"
            local found
            if request.headers.authorization ~= "Bearer token-of-the-services" then
                request:reply { status = 401 }
            elseif name then
                found = answers[request.method](name)
                request:reply { status = found and 200 or 404,
                    body = found and json.encode(found) or "" }
            else
                table.insert(held.comments, json.decode(request.body).body)
                request:reply { status = 201, body = "{}" }
            end
        end
    end, { name = "services", daemon = true })
    task.defer(function()
        server:close()
        serving:cancel()
    end)
    return held, ("http://127.0.0.1:%d"):format(server:port())
end

describe("the port of the team's workflows", function()
    it("has fewer than 150 lines", function()
        local lines = 0
        for _, name in ipairs(fs.list "tests/fixtures/league/scripts") do
            local path = "tests/fixtures/league/scripts/" .. name
            local text = name:find "%.lua$" and fs.read(path) or ""
            lines = lines + select(2, text:gsub("\n", "\n"))
        end
        assert.is_true(lines > 0 and lines < 150, lines .. " lines")
    end)

    full_it("releases, with its data scripts; status watches production", function()
        local project = league.new()
        local argv = { "release", "prod", "--ref", "v1.3.0", "--image",
            project:image("one", nil, "league-app-prod"), "--sandbox" }
        succeeds(project, argv)
        local function count(name)
            return project:query(".dgrun/prod.db", "SELECT count(*) AS n FROM " .. name)[1].n
        end
        assert.same({ 4, 4 }, { count "teams", count "players" })
        local plan = succeeds(project, { "plan", unpack(argv) })
        assert.matches("run scripts/load_roster.py data/rosters/comets.csv", plan.stdout, 1, true)
        local again = succeeds(project, argv)
        assert.same({ 4, 4 }, { count "teams", count "players" })
        -- The installation of this run's checkout; the data scripts found nothing to do.
        assert.matches("Done in %S+: 1 run%.", again.all)
        local crons = { "release", "crons", "--environment", "prod", "--ref", "v1.3.0",
            "--sandbox" }
        assert.matches("Nothing changed", succeeds(project, crons).stdout)
        -- The machines of the drafts come when a person says so and the application is ready.
        crons[#crons + 1] = "--draft-crons"
        local planned = succeeds(project, { "plan", unpack(crons) })
        assert.matches("Plan: 4 to create", planned.stdout, 1, true)
        local created = succeeds(project, crons)
        assert.matches("4 created", created.stdout, 1, true)
        assert.matches("7 cron machines match, 1 not created (gated)", created.all, 1, true)
        table.remove(crons)
        assert.matches("Nothing changed", succeeds(project, crons).stdout)

        -- The commit after v1.3.0 is from July.
        local monitor = { "status", "prod", "--max-behind-for", "48h", "--exit-code", "--sandbox" }
        local late = project:run(monitor)
        assert.equal(3, late.status, late.all)
        assert.matches("has been behind origin/main for", late.stdout, 1, true)
        argv[4] = "main"
        succeeds(project, argv)
        succeeds(project, monitor)
    end)

    it("goes on after a kill with the files that its installation left", function()
        local project = league.new()
        local argv = { "release", "stage", "--ref", "v1.3.0", "--image",
            project:image("one", nil, "league-app"), "--sandbox" }
        assert.equal(9, interrupt.run(project, argv, "create a release", "SIGKILL").signal)
        interrupt.wait_for_no_process(project)
        succeeds(project, { "resume" })
        assert.equal(4, project:query(".dgrun/stage.db",
            "SELECT count(*) AS n FROM players")[1].n)
    end)

    it("brings up an app for a pull request, and takes it away with its branch", function()
        local project = league.new()
        local held, url = services("sqlite+aiosqlite:///" .. project.dir .. "/.dgrun/branch.db")
        local env = { BRANCHES_API = url, GITHUB_API_URL = url,
            BRANCHES_TOKEN = "token-of-the-services", GITHUB_TOKEN = "token-of-the-services" }
        local deploy = { "review", "deploy", "--pr", "7", "--ref", "v1.3.0", "--image",
            project:image("one", nil, "league-app"), "--sandbox" }
        succeeds(project, { "plan", unpack(deploy) }, env)
        assert.same({ branches = {}, comments = {} }, held)
        succeeds(project, deploy, env)
        assert.is_string(held.branches["pr-7-league-app"])
        assert.same({ "Review app: https://pr-7-league-app.fly.dev" }, held.comments)
        succeeds(project, { "review", "destroy", "--pr", "7", "--sandbox" }, env)
        assert.same({}, held.branches)
    end)
end)
