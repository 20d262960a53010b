local json = require "dgrun.json"
local secret = require "host.secret"

describe("dgrun.json", function()
    it("tells {} from [], sorts keys and keeps all digits", function()
        assert.equal('{"a":{},"b":[],"c":[1,2]}',
            json.encode { c = { 1, 2 }, b = json.array {}, a = {} })
        assert.equal("9007199254740991", json.encode(9007199254740991))
        assert.equal("0.1", json.encode(0.1))
        assert.equal("0.30000000000000004", json.encode(0.1 + 0.2))
        assert.equal('"a/b\\n"', json.encode("a/b\n"))
    end)

    it("refuses what JSON does not have", function()
        for _, value in ipairs { 0 / 0, 1 / 0, print, { [{}] = 1 } } do
            local ok, e = pcall(json.encode, value)
            assert.is_false(ok)
            assert.equal("json.invalid", e.code)
        end
    end)

    it("refuses a table that holds itself", function()
        local t = {}
        t.t = t
        local ok, e = pcall(json.encode, t)
        assert.is_false(ok)
        assert.matches("refers to itself", e.msg)
    end)

    it("encodes a secret in a request body only", function()
        local value = { token = secret.new("TOKEN", 'a"b\\') }
        local ok, e = pcall(json.encode, value)
        assert.is_false(ok)
        assert.equal("json.sealed", e.code)
        assert.is_true(secret.is(json.body(value)))
        assert.is_true(json.body(value) == secret.new("EXPECTED", '{"token":"a\\"b\\\\"}'))
        assert.equal('{"a":1}', json.body { a = 1 })
    end)

    it("says what it could not read", function()
        local ok, e = pcall(json.decode, "{", "answer.json")
        assert.is_false(ok)
        assert.matches("^answer.json: ", e.msg)
    end)
end)
