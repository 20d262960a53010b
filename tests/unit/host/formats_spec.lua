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
