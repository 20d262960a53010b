local tables = require "dgrun.core.table"

describe("dgrun.core.table", function()
    it("copies nested data with its metatables", function()
        local mark = {}
        local original = { list = setmetatable({ 1, { 2 } }, mark) }
        local copy = tables.copy(original)
        assert.same(original, copy)
        assert.equal(mark, getmetatable(copy.list))
        copy.list[2][1] = 3
        assert.equal(2, original.list[2][1])
    end)

    it("merges into a new table; later tables take precedence", function()
        local first = { a = 1, b = 1 }
        assert.same({ a = 1, b = false, c = 3 }, tables.merged(first, nil, { b = false, c = 3 }))
        assert.same({ a = 1, b = 1 }, first)
        assert.same({}, tables.merged(nil))
    end)

    it("sorts the names of all tables, numbers first", function()
        assert.same({ "a", "b", "c" }, tables.keys({ b = 1, a = 1 }, nil, { c = 1, a = 2 }))
        assert.same({ 1, 2, "a" }, tables.keys { a = true, [2] = true, [1] = true })
        assert.same({}, tables.keys(nil))
    end)
end)
