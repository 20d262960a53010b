local secret = require "host.secret"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

---Every question is asked of the sealed value and of the string.
local function judge(text, kind, argument)
    local of_string = secret.test(text, kind, argument)
    local sealed = secret.new("RULE", text)
    assert.equal(of_string, secret.test(sealed, kind, argument))
    assert.equal(of_string, sealed:test(kind, argument))
    return of_string
end

describe("a rule asked of a value", function()
    it("of its URL: any, or one of some schemes", function()
        local async = { "postgresql+asyncpg", "sqlite+aiosqlite" }
        for _, url in ipairs { "postgresql+asyncpg://u:p%40ss@h:5432/db?ssl=require",
            "PostgreSQL+asyncpg://h/d", "sqlite+aiosqlite:////x.db", "sqlite+aiosqlite:///x" } do
            assert.is_true(judge(url, "url"))
            assert.is_true(judge(url, "url", async))
        end
        for _, url in ipairs { "postgresql://h/d", "postgresql+psycopg://h/d",
            "postgresql+asyncpgx://h/d", "postgresql+async://h" } do
            assert.is_true(judge(url, "url"))
            assert.is_false(judge(url, "url", async))
        end
        for _, text in ipairs { "", "postgresql+asyncpg", "postgresql+asyncpg://", "://h/d",
            " postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d\n", "postgresql+asyncpg:/h/d",
            "postgresql+asyncpg:// h", "1a://h", "a b://h" } do
            assert.is_false(judge(text, "url"), text)
            assert.is_false(judge(text, "url", async), text)
        end
    end)

    it("of one of some values, byte for byte", function()
        local list = { "dev", "stage", "" }
        assert.is_true(judge("dev", "one_of", list))
        assert.is_true(judge("", "one_of", list))
        for _, text in ipairs { "Dev", "dev ", "de", "devstage", "dev\0" } do
            assert.is_false(judge(text, "one_of", list), text)
        end
        assert.is_false(judge("dev", "one_of", {}))
    end)

    it("of its length in characters", function()
        assert.is_true(judge("sixteen letters!", "min_length", 16))
        assert.is_false(judge("fifteen letters", "min_length", 16))
        assert.is_true(judge("ünï€😀", "max_length", 5))
        assert.is_false(judge("ünï€😀", "min_length", 6))
        assert.is_true(judge("", "min_length", 0))
    end)

    it("of a POSIX extended expression that must match the whole", function()
        for pattern, cases in pairs {
            ["sk-[a-z0-9]{8}"] = { good = { "sk-abcd1234" },
                bad = { "sk-abcd123", "sk-abcd12345", " sk-abcd1234", "sk-abcd1234\n", "" } },
            ["a|ab"] = { good = { "a", "ab" }, bad = { "abc", "b" } },
            ["^(dev|stage)$"] = { good = { "dev", "stage" }, bad = { "devs", "dev|stage" } },
            ["a)|(b"] = nil,
            ["(x.)*"] = { good = { "", "x\n", "xaxb" }, bad = { "x", "xaa" } },
            ["[[:digit:]]+\\.[0-9]*"] = { good = { "1.", "12.5" }, bad = { "1", "a1.0", "1.0\0" } },
        } do
            for _, text in ipairs(cases.good) do
                assert.is_true(judge(text, "pattern", pattern), pattern .. " " .. text)
            end
            for _, text in ipairs(cases.bad) do
                assert.is_false(judge(text, "pattern", pattern), pattern .. " " .. text)
            end
        end
    end)

    it("says what is wrong with an expression", function()
        assert.is_nil(secret.pattern_fault("a{1,3}"))
        assert.matches("[Uu]nmatched", secret.pattern_fault("(a"))
        assert.matches("[Uu]nmatched", secret.pattern_fault("[a"))
        assert.matches("NUL", secret.pattern_fault("a\0b"))
    end)

    it("refuses what is no question", function()
        local s = secret.new("RULE", "some value of no interest")
        for _, e in ipairs { caught(secret.test, s, "one_off", {}), caught(secret.test, 5, "url"),
            caught(secret.test, s, "one_of", "dev"), caught(secret.test, s, "one_of", { 1 }),
            caught(secret.test, s, "min_length", "9"), caught(secret.test, s, "min_length", -1),
            caught(secret.test, s, "pattern", "(a"), caught(secret.test, s, "pattern") } do
            assert.equal("input.invalid", e.code)
            assert.is_nil(tostring(e):find("no interest", 1, true))
        end
        assert.matches("did you mean one_of", caught(secret.test, s, "one_off", {}).msg)
    end)

    it("can be asked of a variable, which stays where it is", function()
        assert.is_false(secret.env_test("DGRUN_TEST_SURELY_UNSET", "empty"))
        assert.is_true(secret.env_test("PATH", "pattern", ".*/bin.*"))
        assert.is_string(os.getenv "PATH")
    end)

    it("can be asked of a variable that was taken", function()
        require("host.proc").export("DGRUN_TEST_TAKEN", "value that is taken")
        secret.from_env "DGRUN_TEST_TAKEN"
        assert.is_nil(os.getenv "DGRUN_TEST_TAKEN")
        assert.is_true(secret.env_test("DGRUN_TEST_TAKEN", "min_length", 19))
        assert.is_false(secret.env_test("DGRUN_TEST_TAKEN", "min_length", 20))
    end)
end)

describe("a word that is no secret", function()
    it("is not masked where it is the whole value", function()
        secret.public { "public-word", "other-word" }
        secret.new("ENV", "public-word")
        secret.new("URL", "https://u:other-word@h/")
        assert.equal("public-word", secret.redact("public-word"))
        assert.equal("a ***", secret.redact("a https://u:other-word@h/"))
        assert.equal("***", secret.redact("other-word"), "a password is one all the same")
        secret.new("LONGER", "public-words")
        assert.equal("*** public-word", secret.redact("public-words public-word"))
    end)

    it("must be said before", function()
        secret.new("EARLY", "said-too-late")
        secret.public { "said-too-late" }
        assert.equal("***", secret.redact("said-too-late"))
    end)
end)
