local secret = require "host.secret"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

describe("host.secret", function()
    it("shows a name, never the value", function()
        local s = secret.new("TOKEN", "value-of-the-token")
        assert.equal("secret(TOKEN)", tostring(s))
        assert.equal("TOKEN", s:name())
        assert.equal("secret(TOKEN)", ("%s"):format(tostring(s)))
    end)

    it("gives nothing away to indexing, measuring, comparing or its metatable", function()
        local s = secret.new("TOKEN", "value-of-the-token")
        assert.is_nil(s.value)
        assert.is_false(pcall(function() s.value = 1 end))
        assert.is_false(pcall(function() return s < s end))
        assert.equal("input.invalid", caught(function() return #s end).code)
        assert.equal("secret", getmetatable(s))
        assert.is_false(pcall(setmetatable, s, {}))
        assert.is_false(pcall(string.rep, s, 2))
        assert.is_false(pcall(table.concat, { s }))
        assert.is_false(pcall(require("dgrun.core.json").encode, { s }))
    end)

    it("compares the bytes", function()
        local s = secret.new("A", "the same bytes")
        assert.is_true(s == secret.new("B", "the same bytes"))
        assert.is_false(s == secret.new("A", "the same bytez"))
        assert.is_false(s == secret.new("A", "the same byte"))
        assert.is_false(s == "the same bytes")
    end)

    it("joins to sealed values", function()
        local user, password = secret.new("USER", "joined-user"), secret.new("PASS", "joined-pass")
        local url = "https://" .. user .. ":" .. password .. "@host/" .. 1
        assert.is_true(secret.is(url))
        assert.equal("secret(USER+PASS)", tostring(url))
        assert.is_true(url == secret.new("X", "https://joined-user:joined-pass@host/1"))
        assert.equal("secret(USER)", tostring(user .. user))
        assert.matches("cannot join a sealed value with table",
            caught(function() return user .. {} end).msg)
    end)

    it("becomes JSON as a sealed value", function()
        local s = secret.new("J", 'a"b\\c\n\1é')
        assert.is_true(s:json() == secret.new("X", '"a\\"b\\\\c\\n\\u0001é"'))
        assert.equal("secret(J)", tostring(s:json()))
    end)

    it("loses the newline of its only line", function()
        local function line(text)
            return secret.new("X", text):line()
        end
        for text, wanted in pairs { ["value\n"] = "value", ["value\r\n"] = "value",
            ["value"] = "value", [""] = "", ["\n"] = "", ["\r\n"] = "", ["value\r"] = "value\r",
            ["a\nb\n"] = "a\nb\n", ["\na"] = "\na", ["a\n\n"] = "a\n\n" } do
            assert.is_true(line(text) == secret.new("Y", wanted), text)
        end
        assert.equal("X", line("value-that-is-lined\n"):name())
        -- It is masked in all forms, too.
        local coded = require("host.digest").base64 "value-that-is-lined"
        assert.equal("***==", secret.redact(coded))
    end)

    it("can be renamed and tested", function()
        local s = secret.new("OLD", "https://host/renamed")
        assert.equal("secret(NEW)", tostring(s:rename("NEW")))
        assert.is_true(s == s:rename("NEW"))
        assert.is_true(s:test("url"))
        assert.is_false(s:test("empty"))
        assert.is_false(s:test("multiline"))
        assert.is_true(secret.new("E", ""):test("empty"))
        assert.is_true(secret.new("E", " \n"):test("blank"))
        assert.is_true(secret.new("E", "two\nlines"):test("multiline"))
        assert.is_false(secret.new("E", "not a://url"):test("url"))
        assert.matches("did you mean url", caught(s.test, s, "urls").msg)
    end)

    it("knows sealed values from others", function()
        assert.is_true(secret.is(secret.new("A", "is it sealed?")))
        for _, value in ipairs { "text", 1, true, {}, io.stdout, print } do
            assert.is_false(secret.is(value))
        end
        assert.is_false(secret.is(nil))
    end)

    it("says which values are too short to be masked", function()
        assert.is_true(secret.unmasked(secret.new("A", "abc")))
        assert.is_false(secret.unmasked(secret.new("A", "abcd")))
    end)

    it("masks in text", function()
        secret.new("M", "masked in text")
        assert.equal("it is *** twice: ***",
            secret.redact("it is masked in text twice: masked%20in+text"))
        assert.equal("plain", secret.redact("plain"))
        assert.equal("a\0b***", secret.redact("a\0bmasked in text"))
    end)

    it("returns nil for a variable that is not set", function()
        assert.is_nil(secret.from_env("DGRUN_TEST_SURELY_UNSET"))
    end)

    it("gives the same value for a variable it took away", function()
        local before = os.getenv("HOME")
        if not before then return end
        local home = secret.from_env("HOME")
        assert.is_nil(os.getenv("HOME"))
        assert.is_true(home == secret.from_env("HOME"))
        assert.is_true(home == secret.new("HOME", before))
    end)

    it("refuses wrong arguments", function()
        assert.matches("the value must be a string", caught(secret.new, "A", 12).msg)
        assert.matches("name must be a short printable", caught(secret.new, "a\27[1m", "x").msg)
        assert.matches("name must be a short printable", caught(secret.new, "", "x").msg)
        assert.matches("cannot be a variable's name", caught(secret.from_env, "A=B").msg)
        assert.matches("needs a sealed value", caught(secret.unmasked, "x").msg)
        assert.matches("needs a string", caught(secret.redact, {}).msg)
    end)

    it("frees thousands of values", function()
        for i = 1, 5000 do
            local s = secret.new("N", "the same value again") .. i
            assert.is_true(secret.is(s))
        end
    end)
end)
