local format = require "dgrun.core.format"

describe("a text", function()
    it("tells an age by two units at most", function()
        for seconds, expected in pairs {
            [0] = "0s", [59] = "59s", [60] = "1m", [3599] = "59m", [3600] = "1h",
            [12000] = "3h 20m", [86400] = "1d", [302400] = "3d 12h", [40 * 86400 + 7200] = "40d",
            [-5] = "0s",
        } do
            assert.equal(expected, format.age(seconds))
        end
    end)

    it("tells how long ago something was", function()
        assert.equal("3h 20m ago", format.ago(12000))
        assert.equal("0s ago", format.ago(-5))
    end)

    it("replaces each byte that is not UTF-8", function()
        assert.equal("a\0ä€😀", format.utf8("a\0ä€😀", "?"))
        assert.equal("??x?", format.utf8("\xc3\x28x\xff", "?"):gsub("%(", "?"))
        assert.equal("???", format.utf8("\xed\xa0\x80", "?")) -- a surrogate
        assert.equal("ä?", format.utf8("ä\xe2", "?"))
    end)

    it("is cut by characters", function()
        assert.equal("abc", format.cut("abc", 3))
        assert.equal("ab…", format.cut("abcd", 3))
        assert.equal("äö…", format.cut("äöüß", 3))
    end)

    it("is broken at spaces", function()
        assert.same({ "one two", "three" }, format.wrap("one two three", 8))
        assert.same({ "a-very-long-word", "x" }, format.wrap("a-very-long-word x", 4))
        assert.same({ "a", "b" }, format.wrap("a\nb", 10))
        assert.same({ "" }, format.wrap("", 10))
        assert.same({ "ää ää", "ää" }, format.wrap("ää ää ää", 5))
    end)
end)
