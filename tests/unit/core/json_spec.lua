local json = require "dgrun.core.json"
local secret = require "host.secret"

describe("dgrun.core.json", function()
    it("tells {} from [], sorts keys and keeps all digits", function()
        assert.equal('{"a":{},"b":[],"c":[1,2]}',
            json.encode { c = { 1, 2 }, b = json.array {}, a = {} })
        assert.equal("9007199254740991", json.encode(9007199254740991))
        assert.equal("0.1", json.encode(0.1))
        assert.equal("0.30000000000000004", json.encode(0.1 + 0.2))
        assert.equal('"a/b\\n"', json.encode("a/b\n"))
        assert.equal(1, select("#", json.encode {}), "io.write gets nothing else")
        assert.equal(1, select("#", json.masked {}))
        assert.equal(1, select("#", json.body {}))
    end)

    it("refuses what JSON does not have", function()
        for _, value in ipairs { 0 / 0, 1 / 0, print, { [{}] = 1 } } do
            local ok, e = pcall(json.encode, value)
            assert.is_false(ok)
            assert.equal("json.invalid", e.code)
        end
    end)

    it("sorts keys by their bytes and writes numbers as names", function()
        assert.equal('{"10":1,"5":2,"B":3,"a":4,"a\\u0000b":5,"é":6}',
            json.encode { a = 4, B = 3, ["é"] = 6, [5] = 2, [10] = 1, ["a\0b"] = 5 })
        assert.equal([["\b\f\r\t\u001b\u007f"]], json.encode "\b\f\r\t\27\127")
    end)

    it("says where the value is that it refuses", function()
        local function message(value)
            local _, e = pcall(json.encode, value)
            return e.msg
        end
        assert.equal("value.a[2].b: nan is not a JSON number",
            message { a = { 1, { b = 0 / 0 } } })
        assert.equal("value.a: a key is a boolean", message { a = { [true] = 1 } })
        assert.equal("value[1]: secret(TOKEN) cannot be encoded as JSON",
            message { secret.new("TOKEN", "fo1_0123456789") })
    end)

    it("masks names and strings by themselves", function()
        secret.new("MASKED", 'pa"ss\\word')
        assert.equal('{"a ***":["b ***",1]}',
            json.masked { ['a pa"ss\\word'] = { 'b pa"ss\\word', 1 } })
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

    it("loses nothing of what was read", function()
        for _, text in ipairs {
            '{"a":[],"b":{},"c":[[],{}]}', "[]", "12345678901234567890", "9007199254740993",
            '{"n":-9007199254740993,"text":"[] 12345678901234567890 \\"[]"}', "[1,null,2.5]",
            '{"dgrun:":"dgrun:","x":[]}', "0.12345678901234567890123", "1e400",
        } do
            assert.equal(text, json.encode(json.decode(text)))
        end
        assert.equal("[1000]", json.encode(json.decode "[1e3]"))
        assert.equal('{"a":[]}', json.encode(json.decode '{"a":[ \n\t ]}'))
        assert.equal("9007199254740993", tostring(json.decode "9007199254740993"))
    end)

    it("loses nothing of random documents", function()
        local random = math.random
        local function text_of(depth)
            local kind = random(depth > 4 and 5 or 8)
            if kind == 1 then
                return tostring(random(-1000, 1000))
            elseif kind == 2 then
                return ("1%018d"):format(random(0, 2 ^ 31))
            elseif kind == 3 then
                return ({ "true", "false", "null", '""', "[]", "{}" })[random(6)]
            elseif kind == 4 then
                return ("%d.%d5"):format(random(9), random(9999))
            elseif kind == 5 then
                local quoted = { 'a"b', "\\", "[]", "é€", "\n", "1234567890123456789", "/" }
                return json.encode(quoted[random(#quoted)] .. random(9))
            end
            local items = {}
            for i = 1, random(0, 5) do
                items[i] = (kind == 8 and "" or ('"k%d":'):format(i)) .. text_of(depth + 1)
            end
            local list = table.concat(items, ",")
            return kind == 8 and "[" .. list .. "]" or "{" .. list .. "}"
        end
        for _ = 1, 500 do
            local text = text_of(0)
            assert.equal(text, json.encode(json.decode(text)))
        end
    end)

    it("refuses text that is no JSON, whatever is in it", function()
        for _, text in ipairs { "[", "[]]", '{"a":[}', '"', '["\\', "1234567890123456789x", "[-]",
            "" } do
            local ok, e = pcall(json.decode, text)
            assert.is_false(ok, text)
            assert.equal("json.invalid", e.code)
        end
    end)
end)
