local path = require "dgrun.core.path"

describe("dgrun.core.path", function()
    it("joins", function()
        assert.equal("/a/b", path.join("/a/", "b"))
        assert.equal("/b", path.join("/a", "/b"))
        assert.equal("/a", path.join("/a", "."))
        assert.equal("/a/b", path.join("/a", "./b"))
        assert.equal("/srv/fly.toml", "/srv" / "fly.toml")
    end)

    it("splits", function()
        assert.equal("/a", path.dirname("/a/b"))
        assert.equal("/", path.dirname("/a"))
        assert.equal(".", path.dirname("a"))
        assert.equal("b", path.basename("/a/b/"))
    end)
end)
