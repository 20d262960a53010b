local secret = require "host.secret"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

---Compares what was found with the values by name.
local function gives(expected, text, opts)
    local found, e = secret.from_json(text, opts)
    assert(found, e and e.msg)
    local wanted, there = {}, {}
    for name in pairs(expected) do
        wanted[#wanted + 1] = name
    end
    for i, entry in ipairs(found) do
        there[i] = entry.name
        assert.is_true(secret.is(entry.value))
        assert.equal(entry.name, entry.value:name())
        assert.is_true(entry.value == secret.new("X", expected[entry.name] or ""), entry.name)
    end
    table.sort(wanted)
    table.sort(there)
    assert.same(wanted, there)
end

local function fails(code, message, text, opts)
    local found, e = secret.from_json(text, opts)
    assert.is_nil(found)
    assert.equal(code, e.code)
    assert.matches(message, e.msg, 1, true)
    return e
end

describe("secrets out of JSON", function()
    it("come from an object", function()
        gives({ A = "json-plain", B = "1.50", C = "true", D = "-0.1e+5", E = "" },
            ' {"A": "json-plain", "B":1.50,"C" :true, "D": -0.1e+5, "E":"", "N": null} \n')
        gives({}, "{}")
        gives({ A = "x" }, '\239\187\191{"A":"x"}')
    end)

    it("are decoded", function()
        gives({ A = '"\\/\b\f\n\r\t é€😀 ü' },
            [[{"A": "\"\\\/\b\f\n\r\t \u00e9\u20AC\uD83D\uDE00 ü"}]])
        gives({ A = "of a name that is escaped" }, [[{"\u0041": "of a name that is escaped"}]])
    end)

    it("come from below a key, by name or place", function()
        local vault = [[{"request_id": "1", "data": {"data": {"KEY": "of vault"},
            "metadata": {"version": 4}}}]]
        gives({ KEY = "of vault" }, vault, { at = { "data", "data" } })
        gives({ KEY = "second" }, [[{"list": [{"KEY": "first"}, {"KEY": "second"}]}]],
            { at = { "list", "1" } })
        fails("json.shape", "it has no 'secrets'", vault, { at = { "data", "secrets" } })
        fails("json.shape", "it has no '2'", "[{},{}]", { at = { "2" } })
        fails("json.shape", "it has no 'x'", '{"a": 1}', { at = { "a", "x" } })
    end)

    it("come from a list of fields, as 1Password gives them", function()
        local item = [[{"id": "x", "fields": [
            {"id": "notesPlain", "type": "STRING", "purpose": "NOTES", "label": "notesPlain",
             "reference": "op://p/i/notesPlain"},
            {"id": "k1", "type": "CONCEALED", "label": "SECRET_KEY", "value": "of 1password"},
            {"id": "k2", "type": "STRING", "label": "has a space", "value": "ignored"}]}]]
        gives({ SECRET_KEY = "of 1password" }, item, { at = { "fields" } })
        gives({ A = "by name", B = "by key", C = "by label", D = "7" }, [=[[
            {"value": "by name", "name": "A"}, {"key": "B", "value": "by key"},
            {"label": "C", "value": "by label"}, {"name": "D", "value": 7},
            {"name": "E", "value": null}, {"name": "F"}, 5, ["x"], "y"]]=])
    end)

    it("come from objects that hold them, as Doppler gives them", function()
        gives({ A = "of doppler", B = "of value" }, [[{
            "A": {"computed": "of doppler", "computedVisibility": "masked", "note": ""},
            "B": {"value": "of value"}, "C": {"other": "x"}, "D": [1]}]])
    end)

    it("come from JSON in a string, as AWS gives them", function()
        gives({ A = "of aws", B = "2" },
            [[{"ARN": "arn:aws:x", "SecretString": "{\"A\":\"of aws\",\"B\":2}"}]],
            { at = { "SecretString" } })
        gives({ A = "deep" }, [[{"S": "{\"in\":{\"A\":\"deep\"}}"}]], { at = { "S", "in" } })
        fails("json.syntax", "invalid JSON", [[{"S": "plain text"}]], { at = { "S" } })
        local text = '{"A":"x"}'
        for _ = 1, 8 do
            text = require("dgrun.core.json").encode(text)
        end
        fails("json.shape", "not an object", text)
    end)

    it("are sealed for the names that are asked for, and masked", function()
        gives({ A = "asked for this" }, '{"A": "asked for this", "B": "not asked for"}',
            { names = { "A", "Z" } })
        assert.equal("*** but not asked for", secret.redact("asked for this but not asked for"))
        gives({}, '{"A": "x"}', { names = {} })
        gives({ ["with-dash"] = "x" }, '{"with-dash": "x", "A\\u0000": "y"}',
            { names = { "with-dash", "A" } })
        gives({ A = "z" }, '{"no name": "x", "9A": "y", "": "w", "A": "z"}')
    end)

    it("come from a sealed text", function()
        gives({ A = "in the seal" }, secret.new("TEXT", '{"A": "in the seal"}'))
    end)

    it("that are ambiguous are refused", function()
        fails("json.shape", "op: A occurs twice",
            '[{"label": "A", "value": "one"}, {"label": "A", "value": "two"}]', { source = "op" })
        fails("json.shape", "A occurs twice", '{"A": "one", "A": "two"}')
        gives({ A = "one" }, [=[[{"label": "A", "value": "one"}, {"label": "A"},
            {"label": "A", "value": null}]]=])
        gives({ B = "x" }, '{"A": 1, "A": 2, "B": "x"}', { names = { "B" } })
    end)

    it("must be values and objects", function()
        fails("json.shape", "not an object", "5")
        fails("json.shape", "not an object", "null")
        fails("json.shape", "the value there is not an object", '{"a": true}', { at = { "a" } })
        fails("json.shape", "the value of A contains a NUL", '{"A": "x\\u0000y"}')
    end)

    it("are read strictly, and nothing of the text is quoted", function()
        for _, text in ipairs { "", " ", "{", '{"A"', '{"A":', '{"A":"canary', '{"A":"x"',
            '{"A":"x",}',
            '{"A" "x"}', "{A: 1}", "[1,]", "[1 2]", '{"A":"x"} canary', '{"A":01}', '{"A":1.}',
            '{"A":-}', '{"A":1e}', '{"A":.5}', '{"A":+1}', '{"A":NaN}', '{"A":tru}',
            '{"A":"\\x41"}',
            '{"A":"\\u12"}', '{"A":"\\ud800"}', '{"A":"\\udc00"}', '{"A":"\\ud800\\u0041"}',
            '{"A":"a\tb"}', '{"A":"a\nb"}', "{'A':'x'}", '{"A":1]', "canary", '"\\', "\0",
            '{"A"\0:1}',
            ("["):rep(70), ("["):rep(65) .. ("]"):rep(65) } do
            local e = fails("json.syntax", "invalid JSON", text)
            assert.is_nil(e.msg:find("canary", 1, true), e.msg)
        end
        gives({}, ("["):rep(60) .. ("]"):rep(60))
        assert.matches("at byte 6 of 7", fails("json.syntax", "invalid JSON", '{"A":x}').msg)
    end)

    it("survive every cut and every wrong byte", function()
        local text = '{"A": {"value": "x\\u00e9"}, "B": [1.5e3, true, null, {"C": "d"}], "E": "f"}'
        for i = 1, #text do
            secret.from_json(text:sub(1, i - 1))
            for _, c in ipairs { "\0", '"', "\\", "{", "]", "9", "\255" } do
                local found, e = secret.from_json(text:sub(1, i - 1) .. c .. text:sub(i + 1))
                assert.is_true(found ~= nil or e ~= nil)
            end
        end
    end)

    it("refuse wrong arguments", function()
        -- Where the sanitizers look for leaks: `at` was taken before `names` raised.
        assert.matches("'names' must be a list of strings",
            caught(secret.from_json, "{}", { at = { "a" }, names = { 1 } }).msg)
        assert.matches("needs a sealed value or a string", caught(secret.from_json, 5).msg)
        assert.matches("must be a list", caught(secret.from_json, "{}", { at = { a = 1 } }).msg)
        assert.equal("input.unknown_option", caught(secret.from_json, "{}", { att = {} }).code)
    end)
end)
