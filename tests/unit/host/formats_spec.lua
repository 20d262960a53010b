local json = require "dgrun.core.json"
local toml = require "host.toml"
local yaml = require "host.yaml"

local function refused(decode, text)
    local value, e = decode(text, { source = "file" })
    assert.is_nil(value, text)
    return e
end

describe("host.yaml", function()
    it("reads the core schema", function()
        assert.equal('{"a":[1,-2,15,31,1.5,1000],"b":[true,false,null,null],'
            .. '"c":["yes","no","on","0x","1.2.3","2026-01-01","1e"]}',
            json.encode(yaml.decode [[
a: [1, -2, 0o17, 0x1F, 1.5, 1e3]
b: [true, False, ~, null]
c: [yes, no, on, 0x, 1.2.3, 2026-01-01, 1e]
]]))
        assert.equal("1", yaml.decode("a: '1'").a)
        assert.equal("x\ny\n", yaml.decode("a: |\n  x\n  y\n").a)
        assert.equal(yaml.null, yaml.decode "")
    end)

    it("refuses, with line and column", function()
        local e = refused(yaml.decode, "a: 1\nb: 2\na: 3\n")
        assert.equal("yaml.syntax", e.code)
        assert.equal(3, e.line)
        assert.equal(1, e.column)
        assert.matches("^file:3:1: ", e.msg)
        for _, text in ipairs {
            "a: [1, 2\nb: 1", "\tx: 1", "a: !!python/object x", "a: !mine x", "--- 1\n--- 2",
            "? [a, b]\n: 1", "a: 99999999999999999999", "a: *nosuch", "a: \255",
        } do
            refused(yaml.decode, text)
        end
    end)

    it("tells floats and large integers from other numbers, when asked", function()
        local read = yaml.decode("[1, 1.0, 1e3, .inf, +9007199254740993, 0x1E, '2.0', 2026-01-01]",
            { typed = true })
        local function scalar(value)
            assert.equal(yaml.scalar_metatable, getmetatable(value))
            return value.kind .. " " .. (value.text or value.number)
        end
        assert.equal(1, read[1])
        assert.same({ "float 1", "float 1000", "float inf", "integer 9007199254740993" },
            { scalar(read[2]), scalar(read[3]), scalar(read[4]), scalar(read[5]) })
        assert.same({ 30, "2.0", "2026-01-01" }, { read[6], read[7], read[8] })
    end)

    it("bounds depth, size and what aliases expand to", function()
        refused(yaml.decode, ("["):rep(100) .. ("]"):rep(100))
        assert.equal("yaml.too_large", refused(yaml.decode, ("x"):rep(2 ^ 20 + 1)).code)
        local bomb = { "a0: &a0 [1,1,1,1,1,1,1,1,1,1]" }
        for i = 1, 8 do
            local list = {}
            for j = 1, 10 do
                list[j] = "*a" .. i - 1
            end
            bomb[#bomb + 1] = ("a%d: &a%d [%s]"):format(i, i, table.concat(list, ","))
        end
        assert.matches("expand to too much", refused(yaml.decode, table.concat(bomb, "\n")).msg)
    end)
end)

describe("host.yaml with tags and large numbers", function()
    it("takes !!str for text", function()
        assert.same({ "1", "true", "", 1 }, (yaml.decode "[!!str 1, !!str true, !!str , 1]"))
        refused(yaml.decode, "a: !!str [1]")
        refused(yaml.decode, "a: !!int 1")
    end)

    it("refuses integers that a number does not hold", function()
        assert.equal(2 ^ 53, yaml.decode("a: 9007199254740992").a)
        assert.equal(-2 ^ 53, yaml.decode("a: -9007199254740992").a)
        for _, text in ipairs { "9007199254740993", "-9007199254740993", "0x20000000000001",
            "0o400000000000000001", "99999999999999999999999" } do
            assert.matches("too large", refused(yaml.decode, "a: " .. text).msg)
        end
    end)

    it("copies the value of an anchor, and refuses an anchor within itself", function()
        local value = yaml.decode "a: &x {b: [1]}\nc: *x\n"
        assert.same({ a = { b = { 1 } }, c = { b = { 1 } } }, value)
        assert.is_false(rawequal(value.a.b, value.c.b))
        refused(yaml.decode, "a: &x [*x]")
    end)
end)

describe("the decoders", function()
    local function refused_soon(decode, text)
        local start = os.clock()
        local e = refused(decode, text)
        local took = os.clock() - start
        assert.is_true(took < 5, ("%s… took %.1f s"):format(text:sub(1, 20), took))
        return e
    end

    it("refuse YAML that libyaml would read for minutes", function()
        for _, text in ipairs {
            ("["):rep(500000), ("{"):rep(500000), ("{a: "):rep(250000), ("- "):rep(500000),
            ("? "):rep(500000), ("[\n"):rep(500000), ("%TAG !a! b\n"):rep(90000) .. "--- a",
        } do
            refused_soon(yaml.decode, text)
        end
        local anchors = {}
        for i = 1, 90000 do
            anchors[i] = ("- &a%d x\n"):format(i)
        end
        refused_soon(yaml.decode, table.concat(anchors) .. "- *no")
    end)

    it("refuse TOML that crashes toml++", function()
        local parts = ("a."):rep(200000) .. "a"
        for _, text in ipairs {
            parts .. " = 1", "[" .. parts .. "]", "[[" .. parts .. "]]",
            "x = { " .. parts .. " = 1 }", "x = [\n{ " .. parts .. " = 1 }]",
            ("a\t.\t"):rep(100) .. "a = 1", ("'a'."):rep(100) .. "a = 1",
            ('"#=".'):rep(100) .. "a = 1",
        } do
            assert.matches("too many parts", refused_soon(toml.decode, text).msg)
        end
        for _, text in ipairs { "aé = 1", "é = 1", "[é]", "a = 1é", "[a]\u{2000}",
            "a = 'x' \u{feff}" } do
            assert.matches("^file:1:%d+: characters outside of quotes must be ASCII",
                refused(toml.decode, text).msg)
        end
        for _, text in ipairs { "[=]", "[[=]]", "[.]", "[a.]", "a. = 1", "= 1", "x = { = 1 }",
            "x = {a.=1}", ("["):rep(300), "x = " .. ("["):rep(500000),
            "x = " .. ("{a="):rep(300000) } do
            refused_soon(toml.decode, text)
        end
    end)

    it("take in TOML what only resembles that", function()
        local dots = ("."):rep(100)
        local text = [[
# é @
a = "é @ \" @"
b = 'é @ \'
c = """é
@ "" \""" @"""
d = '''
é'' @''''
"é@" = [1.5, 2.5,
 3.5] # @
]]
        local value = assert(toml.decode((text:gsub("@", dots))))
        assert.equal("é " .. dots .. ' " ' .. dots, value.a)
        assert.equal("é'' " .. dots .. "'", value.d)
        assert.equal(3.5, value["é" .. dots][3])
        assert.equal("é", assert(toml.decode("\239\187\191a = 'é'")).a)
    end)

    it("report the lines of values when asked", function()
        local _, position = yaml.decode("a: 1\nb:\n- x\n- {c: 1,\n   d: &n [2]}\ne: *n\n",
            { positions = true })
        assert.same({ 1, { a = 1, b = { 2, { 3, { 4, { c = 4, d = { 5, { 5 } } } } } }, e = 6 } },
            position)
        _, position = toml.decode("a = 1\n[[b]]\nc = 1\n[[b]]\nd.e = {f = 1}\n[g.h]\ni = [1,\n2]\n",
            { positions = true })
        assert.same({ 1, { a = 1, b = { 2, { { 2, { c = 3 } },
            { 4, { d = { 5, { e = { 5, { f = 5 } } } } } } } },
            g = { 6, { h = { 6, { i = { 7, { 7, 8 } } } } } } } }, position)
        assert.equal(1, select("#", yaml.decode "a: 1"))
        assert.equal(1, select("#", toml.decode "a = 1"))
    end)
end)

describe("host.toml", function()
    it("reads tables, arrays and scalars; dates stay text", function()
        assert.equal('{"a":{"b":[{"n":1},{"n":2}]},"d":"2026-07-01","f":1.5,"s":"x\\n","t":true}',
            json.encode(toml.decode [=[
s = "x\n"
f = 1.5
t = true
d = 2026-07-01
[[a.b]]
n = 1
[[a.b]]
n = 2
]=]))
    end)

    it("refuses, with line and column", function()
        local e = refused(toml.decode, 'app = "x"\n[vm\n')
        assert.equal("toml.syntax", e.code)
        assert.equal(2, e.line)
        assert.matches("^file:2:%d+: ", e.msg)
        for _, text in ipairs { "a = 1\na = 2", "a = ", "n = 9223372036854775807", "a = '\255'" } do
            refused(toml.decode, text)
        end
    end)

    it("tells floats, dates and large integers from other values, when asked", function()
        local read = toml.decode([=[
i = 1
f = 1.0
big = 9223372036854775807
dt = 2026-07-01T10:00:00Z
ldt = 2026-07-01T10:00:00
d = 2026-07-01
t = 10:00:00
s = "1.0"
]=], { typed = true })
        local function scalar(value)
            assert.equal(yaml.scalar_metatable, getmetatable(value))
            return value.kind .. " " .. (value.text or value.number)
        end
        assert.same({ 1, "1.0" }, { read.i, read.s })
        assert.equal("float 1", scalar(read.f))
        assert.equal("integer 9223372036854775807", scalar(read.big))
        assert.equal("date-time 2026-07-01T10:00:00Z", scalar(read.dt))
        assert.equal("local-date-time 2026-07-01T10:00:00", scalar(read.ldt))
        assert.equal("date 2026-07-01", scalar(read.d))
        assert.equal("time 10:00:00", scalar(read.t))
    end)
end)
