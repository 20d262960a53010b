local dburl = require "host.dburl"
local secret = require "host.secret"

describe("host.dburl", function()
    it("tells all but the password", function()
        local url = secret.new("DATABASE_URL",
            "postgresql+asyncpg://draft:dburl%40pass@db:5432/guru?ssl=require&password=other-pass")
        assert.same({
            dialect = "postgresql", driver = "asyncpg", user = "draft", host = "db", port = 5432,
            database = "guru", options = { ssl = "require" },
        }, dburl.parse(url))
        assert.same({ dialect = "sqlite", driver = "aiosqlite", path = "rel.db", options = {} },
            dburl.parse("sqlite+aiosqlite:///rel.db"))
    end)

    it("gives libpq a sealed URL", function()
        local url = secret.new("DATABASE_URL", "postgresql+asyncpg://u:libpq%40pass@h/d?ssl=true")
        local translated = dburl.libpq(url)
        assert.equal("secret(DATABASE_URL)", tostring(translated))
        assert.is_true(translated ==
            secret.new("X", "postgresql://u:libpq%40pass@h/d?sslmode=require"))
    end)

    it("seals and masks also what came as a string", function()
        assert.is_true(secret.is(dburl.libpq("postgres://u:from-a-string@h/d")))
        assert.equal("***", secret.redact("from-a-string"))
    end)

    it("fails without quoting the URL", function()
        local value, e = dburl.parse("mysql://u:hunter2@h/d")
        assert.is_nil(value)
        assert.equal("dburl.unsupported", e.code)
        assert.is_nil(e.msg:find("hunter2", 1, true))
        value, e = dburl.libpq("sqlite:///a.db")
        assert.is_nil(value)
        assert.equal("dburl.unsupported", e.code)
        assert.is_false(pcall(dburl.parse, 12))
    end)
end)
