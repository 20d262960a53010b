local check = require "dgrun.core.check"
local err = require "dgrun.core.err"

local spec = { ref = "string", dir = "string?", limit = "integer?" }

local function caught(opts)
    local ok, e = pcall(check.options, opts, spec, "git.log")
    assert.is_false(ok)
    return e
end

describe("dgrun.core.check", function()
    it("accepts what the specification names", function()
        local opts = { ref = "main", limit = 3 }
        assert.equal(opts, check.options(opts, spec, "git.log"))
    end)

    it("names the nearest known option", function()
        local e = caught { ref = "main", lmit = 3 }
        assert.equal("input.unknown_option", e.code)
        assert.equal("git.log has no option 'lmit'", e.msg)
        assert.equal("Did you mean 'limit'?", e.hint)
    end)

    it("lists the known options where none is near", function()
        assert.equal("Known values: dir, limit, ref.", caught({ ref = "x", banana = 1 }).hint)
    end)

    it("tells what is missing and what is of the wrong type", function()
        assert.equal("input.missing_option", caught({}).code)
        assert.matches("must be a whole number, not string", caught({ ref = "x", limit = "3" }).msg)
        assert.matches("takes a table", caught("x").msg)
    end)

    it("lifts nil, err", function()
        assert.same({ 1, nil, 3 }, { check(1, nil, 3) })
        local e = err.new { code = "test.x", msg = "no" }
        local ok, raised = pcall(check, nil, e)
        assert.is_false(ok)
        assert.equal(e, raised)
    end)

    it("tells error families", function()
        local e = err.new { code = "fly.lease_held", msg = "no" }
        assert.is_true(err.is(e, "fly"))
        assert.is_true(err.is(e, "fly.lease_held"))
        assert.is_false(err.is(e, "fly.lease"))
        assert.is_false(err.is("fly", "fly"))
    end)

    it("notes where in the script the error was made", function()
        assert.matches("check_spec.lua:%d+$", caught({}).where)
    end)
end)
