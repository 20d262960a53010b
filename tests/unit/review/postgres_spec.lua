-- Databases of review apps in a real PostgreSQL, where everybody needs a password.
local dburl = require "host.dburl"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local postgres = require "host.postgres"
local review = require "dgrun.review"
local run = require "dgrun.run"
local secret = require "host.secret"
local server_of = require "support.postgres"
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local APP = "draft-app-pr-12"
local NAME = "draft_app_pr_12"

local server ---@type support.postgres

---One run (or plan); what it returned, its record.
local function execute(f, plan)
    local value
    local record = run.execute({ name = "test", root = "/tmp", journal = false,
        plan = plan or false }, function() value = f() end)
    return value, record
end

local function done(f, plan)
    local value, record = execute(f, plan)
    assert.equal("done", record.status, tostring(record.error))
    local summaries = {}
    for i, one in ipairs(record.effects) do
        summaries[i] = one.summary
    end
    return value, summaries, record
end

local function connect(url)
    local connection, e = postgres.connect { url = assert(dburl.libpq(url)) }
    if connection then
        task.defer(function() connection:close() end)
    end
    return connection, e
end

local function ask(sql, parameters)
    local connection = assert(connect(server.url))
    local rows = assert(connection:query(sql, parameters))
    connection:close()
    return rows
end

---What is left of an app: its role, its schema, its database.
local function left(name)
    return ask([[SELECT (SELECT count(*) FROM pg_roles WHERE rolname = $1) AS roles,
        (SELECT count(*) FROM pg_namespace WHERE nspname = $1) AS schemas,
        (SELECT count(*) FROM pg_database WHERE datname = $1) AS databases]], { name })[1]
end

local NOTHING = { roles = "0", schemas = "0", databases = "0" }

local function refused(f, code)
    local _, record = execute(f)
    assert.equal("failed", record.status)
    assert.equal(code or "refused.not_ours", record.error.code, tostring(record.error))
    return record.error
end

---A role that may create others, but is no superuser.
local function plain_admin()
    ask "CREATE ROLE admin LOGIN CREATEROLE CREATEDB PASSWORD 'admin-word'"
    ask "GRANT CREATE ON DATABASE postgres TO admin"
    return (server.url:gsub("//dgrun:server%-word@", "//admin:admin-word@"))
end

local function databases(more)
    local opts = { server = secret.new("SERVER", server.url), driver = "asyncpg" }
    for name, value in pairs(more or {}) do
        opts[name] = value
    end
    return review.postgres(opts)
end

local function comes_once_and_goes_once(as, server_url)
    local one = databases { as = as, server = secret.new("S", server_url) } (APP)
    local planned, would = done(one.create, true)
    assert.same({ ("create %s %s with its own role"):format(as, NAME) }, would)
    assert.same(NOTHING, left(NAME))
    local app_url, did = done(one.create)
    assert.same(would, did)
    assert.equal(planned, app_url)
    assert.is_true(secret.is(app_url))
    assert.same({ dialect = "postgresql", driver = "asyncpg", user = NAME, host = "127.0.0.1",
        port = server.port, options = {}, database = as == "schema" and "postgres" or NAME },
        dburl.parse(app_url))
    local again, nothing = done(one.create)
    assert.equal(app_url, again)
    assert.same({}, nothing)

    local app = assert(connect(app_url))
    assert(app:query "CREATE TABLE news(title text)")
    assert.equal(as == "schema" and NAME or "public",
        app:query("SELECT schemaname AS s FROM pg_tables WHERE tablename = 'news'")[1].s)
    -- It is connected, and in the middle of something, when it goes.
    assert(app:query "BEGIN")
    assert(app:query "LOCK TABLE news")
    local _, dropped = done(one.drop)
    assert.same({ ("drop %s %s and its role"):format(as, NAME) }, dropped)
    assert.same(NOTHING, left(NAME))
    assert.is_nil((app:query "SELECT 1"))
    assert.same({}, select(2, done(one.drop)))
    assert.is_nil((connect(app_url)))
end

local function is_its_own_alone()
    local names = { APP, "draft-app-pr-7" }
    local seven
    for _, name in ipairs(names) do
        seven = assert(connect(done(databases()(name).create)))
        assert(seven:query "CREATE TABLE news(title text)")
    end
    for _, sql in ipairs { "SELECT * FROM draft_app_pr_12.news", "CREATE TABLE public.x(a int)",
        "CREATE ROLE x", "CREATE DATABASE x", "CREATE SCHEMA x" } do
        local rows, e = seven:query(sql)
        assert.is_nil(rows, sql)
        assert.equal("42501", e.sqlstate, sql)
    end
    for _, name in ipairs(names) do
        done(databases()(name).drop)
    end
end

local function is_completed_when_half_there()
    local one = databases()(APP)
    local url = done(one.create)
    -- Killed while it went: nobody may come in, all is still there.
    ask(("ALTER ROLE %s NOLOGIN"):format(NAME))
    assert.equal(1, #select(2, done(one.create)))
    assert(connect(url)):close()
    ask(("DROP SCHEMA %s CASCADE"):format(NAME))
    assert.same({ ("create schema %s with its own role"):format(NAME) },
        select(2, done(one.create)))
    ask(("DROP SCHEMA %s CASCADE"):format(NAME))
    done(one.drop)
    assert.same(NOTHING, left(NAME))
    -- A database whose creation was cut off behind its role.
    one = databases { as = "database" } (APP)
    done(one.create)
    ask(("DROP DATABASE %s"):format(NAME))
    url = done(one.create)
    assert(connect(url)):close()
    ask(("DROP DATABASE %s"):format(NAME))
    done(one.drop)
    assert.same(NOTHING, left(NAME))
end

local function leaves_what_is_not_its_own()
    for sql, undo in pairs {
        ["CREATE ROLE draft_app_pr_12"] = "DROP ROLE draft_app_pr_12",
        ["CREATE SCHEMA draft_app_pr_12"] = "DROP SCHEMA draft_app_pr_12",
        ["CREATE DATABASE draft_app_pr_12"] = "DROP DATABASE draft_app_pr_12",
    } do
        ask(sql)
        local one = databases()(APP)
        assert.matches("was not created for review app", refused(one.create).msg)
        refused(one.drop)
        ask(undo)
    end
    ask "CREATE ROLE draft_app_pr_12"
    ask "COMMENT ON ROLE draft_app_pr_12 IS 'dgrun review app draft-app-pr-1, key 0'"
    refused(databases()(APP).drop)
    ask "DROP ROLE draft_app_pr_12"
end

local function start()
    server = server_of.start { password = "server-word" }
end

describe("a review app's part of a PostgreSQL", function()
    it("comes once and goes once, as a schema or a database, by any role that may", function()
        start()
        local admin = plain_admin()
        for _, url in ipairs { server.url, admin } do
            comes_once_and_goes_once("schema", url)
            comes_once_and_goes_once("database", url)
        end
    end)

    it("is its own alone, is completed when it is half there, leaves others alone", function()
        start()
        is_its_own_alone()
        is_completed_when_half_there()
        leaves_what_is_not_its_own()
    end)

    it("gets a new password when the server's changes", function()
        start()
        local before = done(databases()(APP).create)
        ask "ALTER ROLE dgrun PASSWORD 'other-word'"
        server.url = server.url:gsub("server%-word", "other-word")
        local one = databases()(APP)
        local after, did = done(one.create)
        assert.same({ ("reset the password of role %s"):format(NAME) }, did)
        assert.are_not.equal(before, after)
        assert(connect(after)):close()
        assert.is_nil((connect(before)))
        assert.same({}, select(2, done(one.create)))
    end)

    it("leaves no password in the server's log, and says who cannot connect", function()
        start()
        ask "ALTER SYSTEM SET log_statement = 'all'"
        ask "ALTER SYSTEM SET logging_collector = on"
        server.stop()
        server.restart()
        done(databases()(APP).create)
        local password = require("host.digest").fingerprint("review " .. APP, server.url)
        local said = "ALTER ROLE \"draft_app_pr_12\" LOGIN PASSWORD 'SCRAM-SHA-256$"
        local text
        -- The server's collector writes its lines in its own time.
        until_true(function()
            text = ""
            for _, name in ipairs(assert(fs.list(server.dir / "log"))) do
                text = text .. assert(fs.read(server.dir / "log" / name))
            end
            return text:find(said, 1, true)
        end)
        assert.is_nil(text:find(password, 1, true))
        local wrong = server.url:gsub("server%-word", "wrong-word")
        local e = refused(databases({ server = secret.new("W", wrong) })(APP).create,
            "postgres.connect")
        assert.is_nil(tostring(e):find("wrong-word", 1, true))
    end)

    it("takes no names and no servers that do not fit", function()
        server = { url = "postgresql://dgrun:x@127.0.0.1/postgres" }
        local function code(f, ...)
            local ok, e = pcall(f, ...)
            assert.is_false(ok)
            return err.object(e).code
        end
        for _, name in ipairs { "x\"; DROP", "Draft", "", ("x"):rep(64), "1-app" } do
            assert.equal("input.invalid", code(databases(), name))
        end
        assert.equal("input.invalid", code(databases, { as = "table" }))
        assert.equal("input.invalid", code(databases { server = "sqlite:////tmp/x" }, APP))
        assert.equal("input.unknown_option", code(databases, { serve = "x" }))
    end)
end)
