local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local rollback = require("dgrun.fly.rollback").rollback

local toml = [=[
app = "web"
primary_region = "ewr"
[deploy]
release_command = "alembic upgrade head"
[env]
GREETING = "%s"
[http_service]
internal_port = 8080
[[http_service.checks]]
path = "/health"
]=]

local revision = 'revision = "%s"\ndown_revision = %s\n'

---An app with two releases of two images, revisions and configurations.
local function with_releases(body)
    fly_run.with(function(fly, execute)
        health.smoke_seconds = 0.2
        local dir = fly.dir
        assert(fs.write(dir / "alembic.ini", "[alembic]\nscript_location = alembic\n"))
        assert(fs.mkdir(dir / "alembic/versions", { parents = true }))
        assert(fs.write(dir / "alembic/versions/a.py", revision:format("aaa", "None")))
        local function go(image, greeting)
            fly.register("registry.fly.io/web:" .. image)
            assert(fs.write(dir / "fly.toml", toml:format(greeting)))
            local record = execute(function()
                return deploy { app = "web", config = dir / "fly.toml", commit = image:rep(40),
                    image = "registry.fly.io/web:" .. image }
            end)
            assert.equal("done", record.status, tostring(record.error))
        end
        go("a", "hello")
        assert(fs.write(dir / "alembic/versions/b.py", revision:format("bbb", '"aaa"')))
        go("b", "goodbye")
        body(function(opts, plan)
            opts.app = "web"
            return execute(function() return rollback(opts) end, plan)
        end, fly, go)
    end)
end

describe("fly.rollback", function()
    it("brings image and configuration of an earlier release back, without its command", function()
        with_releases(function(go, fly)
            local plan = go({ additive = true }, true)
            assert.equal("done", plan.status, tostring(plan.error))
            assert.equal("fly.release.create", plan.effects[1].kind)
            local record = go { additive = true }
            assert.equal("done", record.status, tostring(record.error))
            for _, effect in ipairs(record.effects) do
                assert.is_true(effect.kind ~= "fly.release_command.run")
            end
            for _, id in ipairs(record.value.machines) do
                local machine = fly.get(id)
                assert.equal("a", machine.image_ref.tag)
                assert.equal("hello", machine.config.env.GREETING)
                assert.equal(("a"):rep(40), machine.config.metadata.dgrun_commit)
            end
            assert.equal(3, record.value.release.version)
            -- And forward again: what v2 was is known too.
            assert.equal("done", go({ to = 2 }).status)
            assert.equal("goodbye", fly.get(record.value.machines[1]).config.env.GREETING)
        end)
    end)

    it("is refused when the database is ahead of the old image", function()
        with_releases(function(go, fly)
            local e = go({ to = 1, dir = fly.dir }).error
            assert.equal("refused.database_ahead", e.code)
            assert.matches("ahead by 1 revision that the image of v1 does not know: bbb", e.msg, 1,
                true)
            assert.equal("refused.database_differs", go({ to = 1 }).error.code)

            -- The database itself is asked, when it is named.
            local database = "sqlite:///" .. fly.dir .. "/app.db"
            local db = assert(require("host.sqlite").open(fly.dir / "app.db", { create = true }))
            assert(db:exec "CREATE TABLE alembic_version (version_num TEXT)")
            assert(db:exec "INSERT INTO alembic_version VALUES ('bbb')")
            assert.equal("refused.database_ahead",
                go({ to = 1, dir = fly.dir, database = database }).error.code)
            assert(db:exec "UPDATE alembic_version SET version_num = 'aaa'")
            db:close()
            assert.equal("done", go({ to = 1, dir = fly.dir, database = database }).status)
        end)
    end)

    it("names the releases there are", function()
        with_releases(function(go)
            local e = go({ to = 9 }).error
            assert.equal("fly.no_release", e.code)
            assert.equal("Complete ones are: v2 and v1.", e.hint)
        end)
    end)

    it("needs no revisions where there are none", function()
        fly_run.with(function(fly, execute)
            health.smoke_seconds = 0.2
            for _, name in ipairs { "a", "b" } do
                fly.register("registry.fly.io/web:" .. name)
                assert(fs.write(fly.dir / "fly.toml", 'app = "web"\n[http_service]\n'
                    .. "internal_port = 1\n"))
                execute(function()
                    return deploy { app = "web", config = fly.dir / "fly.toml",
                        image = "registry.fly.io/web:" .. name }
                end)
            end
            local record = execute(function() return rollback { app = "web" } end)
            assert.equal("done", record.status, tostring(record.error))
            assert.equal("a", fly.get(record.value.machines[1]).image_ref.tag)
        end)
    end)
end)
