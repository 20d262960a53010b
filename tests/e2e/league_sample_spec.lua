-- The second sample application without dgrun: its habits are those of a grown application.
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local league = require "support.league"
local postgres = require "support.postgres"
local proc = require "host.proc"

local function run(project, url, argv)
    local env = { PATH = "/usr/bin:/bin", LANG = "C.UTF-8", PYTHONDONTWRITEBYTECODE = "1",
        DATABASE_URL = url, SECRET_KEY = "0123456789abcdef", ENV = "dev" }
    local result = assert(proc.run { argv = argv, cwd = project.dir, clean_env = true, env = env,
        timeout = 120 })
    result.all = result.stdout .. result.stderr
    return result
end

local function succeeds(...)
    local result = run(...)
    assert.equal(0, result.status, result.all)
    return result.all
end

---All of its migrations, its jobs, its readiness command and its data scripts.
local function lives_on(project, url)
    local readiness = { "/usr/bin/python3", "scripts/check_readiness.py", "preflight" }
    assert.matches("no table drafts", run(project, url, readiness).stderr)
    succeeds(project, url, { "alembic", "upgrade", "heads" })
    assert.matches("a216a75c6725 %(head%)", succeeds(project, url, { "alembic", "current" }))
    assert.matches("ready", succeeds(project, url, readiness))
    local seed = { "/usr/bin/python3", "scripts/seed_teams.py" }
    assert.matches("changed: 3", succeeds(project, url, seed))
    assert.matches("changed: 0", succeeds(project, url, seed))
    succeeds(project, url,
        { "/usr/bin/python3", "scripts/load_roster.py", "data/rosters/comets.csv" })
    assert.matches("0 rows of news", succeeds(project, url,
        { "/usr/bin/python3", "-m", "app.cli.ingest_news" }))
    succeeds(project, url, { "alembic", "downgrade", "base" })
end

describe("the league application", function()
    full_it("lives on SQLite", function()
        local project = league.new()
        lives_on(project, "sqlite+aiosqlite:///" .. project.dir .. "/a.db")
    end)

    full_it("lives on PostgreSQL, with the URL of a hosted one", function()
        local server = postgres.start()
        lives_on(league.new(), server.url .. "?sslmode=disable&channel_binding=prefer")
    end)

    it("has a commit with two heads, and shadows the installed package", function()
        local project = league.new()
        local url = "sqlite+aiosqlite:///" .. project.dir .. "/a.db"
        assert.equal(0, run(project, url, { "git", "checkout", "-q", "v1.1.0" }).status)
        -- In which order differs between versions of Alembic.
        local heads = succeeds(project, url, { "alembic", "heads" })
        assert.matches("e2e8f63d2053 (head)", heads, 1, true)
        assert.matches("50901d00e121 (head)", heads, 1, true)
        assert.matches("No module named", run(project, url,
            { "/usr/bin/python3", "-c", "import alembic.config" }).stderr)
        succeeds(project, url, { "alembic", "upgrade", "heads" })
        assert.is_true(fs.exists(project.dir / "scripts/prod_deploy.lua"))
    end)
end)
