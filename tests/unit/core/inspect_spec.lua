local inspect = require "dgrun.core.inspect"

describe("a value as text", function()
    it("shows the fields of a table, lists first, then names in order", function()
        assert.equal('{ 1, "two", a = true, ["b c"] = {}, ["end"] = 0 }',
            inspect.text { 1, "two", ["b c"] = {}, a = true, ["end"] = 0 })
    end)

    it("is what tostring gives for anything else", function()
        assert.equal("two\nlines", inspect.text "two\nlines")
        assert.equal("nil", inspect.text(nil))
        local object = setmetatable({}, { __tostring = function() return "an object" end })
        assert.equal("{ an object }", inspect.text { object })
    end)

    it("ends for tables that hold themselves, and for deep and long ones", function()
        local circle = { name = "c" }
        circle.me = circle
        assert.equal('{ me = { its own table again }, name = "c" }', inspect.text(circle))
        local deep = {}
        local at = deep
        for _ = 1, 1000 do
            at.x = {}
            at = at.x
        end
        assert.matches("{ … }", inspect.text(deep), 1, true)
        local long = {}
        for i = 1, 10000 do
            long[i] = i
        end
        assert.is_true(#inspect.text(long) < 2000)
    end)

    it("does not open a sealed value", function()
        local value = require("host.secret").new("KEY", "very-secret-value")
        assert.equal("{ key = secret(KEY) }", inspect.text { key = value })
    end)
end)
