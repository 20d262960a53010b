-- A migration waited 55 minutes for a lock, and everything queued behind it: one blocked CREATE
-- INDEX, no lock timeout, one transaction around all revisions. A real PostgreSQL, a real Alembic.
local app = require "support.alembic_app"
local fs = require "host.fs"
local postgres = require "support.postgres"
local project = require "support.project"
local scripts = require "support.scripts"
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true

---How long the site waits for its database, and how long a migration may make it wait.
local SITE_PATIENCE, LOCK_TIMEOUT = "1500ms", "300ms"

---What the workflow did.
local old_way = [[
local dg = require "dgrun"
return dg.pipeline {
    description = "Migrate",
    run = function()
        dg.step("Migrate", function()
            dg.proc.run { argv = { "alembic", "upgrade", "head" }, cwd = %q,
                env = { DATABASE_URL = %q }, on_line = dg.log }
        end)
    end,
}
]]

local with_dgrun = [[
local dg = require "dgrun"
-- Its pauses, as short as the test likes them.
require("dgrun.migrations.lock").look_every = 0.05
require("dgrun.migrations.execute").retry_seconds = 0.2
return dg.pipeline {
    description = "Migrate",
    run = function()
        dg.step("Migrate", function()
            return dg.migrations.upgrade { dir = %q, database = %q, lock_timeout = %q,
                retries = 2 }
        end)
    end,
}
]]

---Two tables of a site. The revisions that are to come: one for each, in one transaction.
local function application()
    local files = app.files {
        ["a.py"] = app.revision("aaaa", nil, [[
op.create_table("players", sa.Column("id", sa.Integer))
op.create_table("news", sa.Column("id", sa.Integer), sa.Column("title", sa.Text))]]),
        ["b.py"] = app.revision("bbbb", "aaaa",
            'op.add_column("players", sa.Column("team", sa.Text))'),
        ["c.py"] = app.revision("cccc", "bbbb",
            'op.create_index("by_title", "news", ["title"])'),
    }
    files["migrations/env.py"] = app.env_py:gsub(", transaction_per_migration=True", "")
    return project.make(files)
end

local function connect(server, name)
    local connection = assert(require("host.postgres").connect { url = server.url })
    assert(connection:query(("SET application_name = '%s'"):format(name)))
    return connection
end

---The site: its queries give up after a while, as those of any web application.
local function site(server)
    local connection = connect(server, "the site")
    assert(connection:query(("SET statement_timeout = '%s'"):format(SITE_PATIENCE)))
    return {
        read = function() return connection:query "SELECT count(*) FROM players" end,
        write = function() return connection:query "INSERT INTO news VALUES (1, 'x')" end,
        close = function() connection:close() end,
    }
end

---A job that writes and then thinks for long, its transaction open.
local function import(server)
    local connection = connect(server, "the nightly import")
    assert(connection:query "BEGIN")
    assert(connection:query "INSERT INTO news VALUES (2, 'y')")
    return {
        finish = function()
            assert(connection:query "COMMIT")
            connection:close()
        end,
    }
end

local function with_site(body)
    local server, dir = postgres.start(), application()
    local first = scripts.start({ root = dir, env = {} },
        with_dgrun:gsub("retries", 'target = "aaaa", retries'):format(dir, server.url,
            LOCK_TIMEOUT))
    assert.equal(0, first.ended().status, first.text())
    local writer, visitors = import(server), site(server)
    body({ server = server, dir = dir, import = writer, site = visitors,
        start = function(text) return scripts.start({ root = dir, env = {} }, text) end,
        query = function(sql)
            local connection = connect(server, "the test")
            local rows = assert(connection:query(sql))
            connection:close()
            return rows
        end })
    visitors.close()
end

local WAITING = [[SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'
    AND query LIKE 'CREATE INDEX%']]

describe("a migration waited 55 minutes for a lock:", function()
    it("the old way waits for as long as it takes, and takes the site down meanwhile", function()
        with_site(function(world)
            local run = world.start(old_way:format(world.dir, world.server.url))
            until_true(function() return world.query(WAITING)[1] end)
            -- Nobody wrote players, yet nobody can read them; and news cannot be written.
            for _, what in ipairs { "read", "write" } do
                local _, e = world.site[what]()
                assert.equal("57014", (e or {}).sqlstate, what .. " went through")
            end
            assert.equal(1, #world.query(WAITING))
            assert.is_nil(run.text():find("import", 1, true), "it says who is in the way")
            -- In the end it is green.
            world.import.finish()
            assert.equal(0, run.ended().status, run.text())
        end)
    end)

    it("dgrun lets go of it in time, says who holds it, and the site goes on", function()
        with_site(function(world)
            local text = with_dgrun:format(world.dir, world.server.url, LOCK_TIMEOUT)
            local run = world.start(text)
            run.said "waiting for a lock held by"
            local ended
            task.all {
                function() ended = run.ended() end,
                function()
                    while not ended do
                        for _, what in ipairs { "read", "write" } do
                            local rows, e = world.site[what]()
                            assert(rows, what .. ": " .. tostring(e and e.msg))
                        end
                        task.sleep(0.02)
                    end
                end,
            }
            assert.equal(1, ended.status, run.text())
            local said = run.text()
            for _, words in ipairs { "the nightly import", "INSERT INTO news VALUES (2, 'y')",
                "could not get a lock within 300ms, 3 times", "trying again in",
                "Applied: none. Not applied: bbbb, cccc" } do
                assert.matches(words, said, 1, true)
            end
            -- Nothing is half done, and nothing is held.
            assert.same({}, world.query [[SELECT 1 FROM information_schema.columns
                WHERE table_name = 'players' AND column_name = 'team']])
            assert.is_table(world.site.read())

            world.import.finish()
            local again = world.start(text)
            assert.equal(0, again.ended().status, again.text())
            assert.same({ { version_num = "cccc" } },
                world.query "SELECT version_num FROM alembic_version")
        end)
    end)

    it("dgrun plan says beforehand what would be locked", function()
        with_site(function(world)
            local path = world.dir / "plan.lua"
            assert(fs.write(path, with_dgrun:format(world.dir, world.server.url, LOCK_TIMEOUT)))
            local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
            local plan = assert(require("host.proc").run { cwd = world.dir,
                argv = { binary, "plan", path } })
            assert.equal(0, plan.status, plan.stderr)
            assert.matches("cccc: CREATE INDEX by_title ON news (title) "
                .. "(require-concurrent-index-creation): the table cannot be written while",
                plan.stdout, 1, true)
            world.import.finish()
        end)
    end)
end)
