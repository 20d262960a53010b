-- The sample application without dgrun: what the other tests deploy is genuine.
local full_it = require("support.matrix").full_it
local postgres = require "support.postgres"
local proc = require "host.proc"
local sample = require "support.sample"
local fs = require "host.fs"
local task = require "dgrun.core.task"

local function python(project, url, module, more)
    local env = { PATH = os.getenv "PATH", LANG = "C.UTF-8", PYTHONDONTWRITEBYTECODE = "1",
        DATABASE_URL = url, SECRET_KEY = "s", ENV = "dev" }
    for name, value in pairs(more or {}) do
        env[name] = value
    end
    local run = assert(proc.run { argv = { "/usr/bin/python3", "-m", unpack(module) },
        cwd = project.dir, clean_env = true, env = env, timeout = 120 })
    run.all = run.stdout .. run.stderr
    return run
end

local function succeeds(...)
    local run = python(...)
    assert.equal(0, run.status, run.all)
    return run.all
end

---All of its migrations there and back, and the feed taken in twice.
local function lives_on(project, url)
    succeeds(project, url, { "alembic", "upgrade", "head" })
    assert.matches("3 items in the feed, 3 new", succeeds(project, url, { "app.cli.cron_runner" }))
    assert.matches("3 items in the feed, 0 new", succeeds(project, url, { "app.cli.cron_runner" }))
    succeeds(project, url, { "alembic", "downgrade", "base" })
    succeeds(project, url, { "alembic", "upgrade", "head" })
    assert.matches("9caf00c0de09 %(head%)", succeeds(project, url, { "alembic", "current" }))
end

describe("the sample application", function()
    it("lives on SQLite", function()
        local project = sample.new()
        lives_on(project, "sqlite+aiosqlite:///" .. project.dir .. "/a.db")
    end)

    full_it("lives on PostgreSQL", function()
        lives_on(sample.new(), postgres.start().async_url)
    end)

    it("takes in Atom, and what a feed says stays text on the page", function()
        local project = sample.new()
        local url = "sqlite+aiosqlite:///" .. project.dir .. "/a.db"
        project:write("atom.xml", [[
<feed xmlns="http://www.w3.org/2005/Atom">
  <entry><title>&lt;script&gt;</title><link rel="alternate" href="https://x.example/&quot;q"/>
    <updated>2026-07-01T10:00:00+02:00</updated></entry>
  <entry><title>Not an address</title><link href="javascript:alert(1)"/></entry>
</feed>]])
        succeeds(project, url, { "alembic", "upgrade", "head" })
        succeeds(project, url, { "app.cli.cron_runner" }, { NEWS_FEED = "atom.xml" })
        assert.same({ { published_at = "2026-07-01 08:00:00.000000" } },
            project:query("a.db", "SELECT published_at FROM news"))

        local page = "import asyncio; from app.main import index; print(asyncio.run(index()))"
        project:write("page.py", page)
        local text = succeeds(project, url, { "page" })
        assert.matches('<a href="https://x.example/&quot;q">&lt;script&gt;</a>', text, 1, true)
    end)

    it("names all that is wrong with its settings, without their values", function()
        local project = sample.new()
        local run = python(project, "postgresql+asyncpg:/app:word-of-pass@db", { "app.server" },
            { ENV = "moon", LOG_LEVEL = "loud", SECRET_KEY = "" })
        assert.equal(1, run.status)
        for _, name in ipairs { "SECRET_KEY is missing", "DATABASE_URL must", "ENV must",
            "LOG_LEVEL must" } do
            assert.matches(name, run.stderr, 1, true)
        end
        assert.is_nil(run.all:find("word-of-pass", 1, true))
    end)

    it("says in one line why a feed was not taken in", function()
        local project = sample.new()
        local url = "sqlite+aiosqlite:///" .. project.dir .. "/a.db"
        project:write("broken.xml", "<rss")
        for source, reason in pairs {
            ["broken.xml"] = "line 1", ["nosuch.xml"] = "No such file",
            ["http://127.0.0.1:1/"] = "refused",
        } do
            local run = python(project, url, { "app.cli.cron_runner" }, { NEWS_FEED = source })
            assert.equal(1, run.status)
            assert.matches("^ingesting " .. source .. " failed: .*" .. reason, run.stderr)
        end
    end)

    it("has the same history wherever it is made, also inside a hook of another", function()
        local function history(env)
            local dir = fs.real(assert(fs.temp_dir "history"))
            task.defer(function() fs.remove(dir, { recursive = true }) end)
            local git = { "git", "init", "-q", dir / "outer" }
            assert.equal(0, assert(proc.run { argv = git }).status)
            local all = { GIT_DIR = env and dir / "outer/.git" or false }
            for name, value in pairs(env or {}) do
                all[name] = value
            end
            local made = assert(proc.run { env = all,
                argv = { fs.absolute "tests/fixtures/make-repository.sh", dir / "made" } })
            assert.equal(0, made.status, made.stderr)
            assert.is_false(fs.exists(dir / "outer/.git/refs/heads/main"))
            return assert(proc.run { argv = { "git", "-C", dir / "made", "for-each-ref" } }).stdout
        end
        local refs = history()
        assert.equal(refs, history { TZ = "America/New_York", GIT_DEFAULT_HASH = "sha256",
            GIT_AUTHOR_NAME = "Someone Else" })
        for _, name in ipairs { "tags/v1.0.0", "tags/v1.1.0", "tags/v1.2.0", "heads/main",
            "heads/feature/x", "remotes/origin/hotfix" } do
            assert.matches("refs/" .. name .. "\n", refs, 1, true)
        end
    end)
end)
