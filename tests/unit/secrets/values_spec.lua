local project = require "support.project"
local secret = require "host.secret"
local secrets = require "dgrun.secrets"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

local function equal(text, value)
    return value == secret.new("X", text)
end

describe("secrets.values", function()
    it("come from files, sealed", function()
        local dir = project.make { ["one"] = "value-one\n", ["windows"] = "value-two\r\n",
            ["key"] = "line one\nline two\n", ["env"] = "A=1234\nB='two words'\nA=5678\n" }
        local values = secrets.values { app = "web", from = dir / "env",
            file = { "ONE=" .. dir / "one", "TWO=" .. dir / "windows", "KEY=" .. dir / "key" } }
        assert.is_true(equal("value-one", values.ONE))
        assert.is_true(equal("value-two", values.TWO))
        assert.is_true(equal("line one\nline two\n", values.KEY))
        assert.is_true(equal("5678", values.A))
        assert.is_true(equal("two words", values.B))
    end)

    it("are refused when they are empty, given twice or not there", function()
        local dir = project.make { ["empty"] = "\n", ["env"] = "A=1234\n", ["a"] = "x",
            ["none"] = "# nothing\n", ["bad"] = "A=1\nnot a line of it\n" }
        for text, opts in pairs {
            ["E is empty"] = { file = { "E=" .. dir / "empty" } },
            ["A was given twice"] = { from = dir / "env", file = { "A=" .. dir / "a" } },
            ["contains no NAME=value lines"] = { from = dir / "none" },
            ["bad:2"] = { from = dir / "bad" },
            ["the file does not exist"] = { file = { "A=" .. dir / "nosuch" } },
            ["not a valid secret name"] = { file = { "A-B=" .. dir / "a" } },
        } do
            opts.app = "web"
            local e = caught(secrets.values, opts)
            assert.matches(text, e.msg, 1, true)
            assert.is_nil(e.msg:find("nosuch", 1, true) or e.msg:find("not a line", 1, true))
        end
    end)
end)

describe("values in arguments", function()
    local function refused(...)
        local ok, e = pcall(secrets.refuse_assignments, { ... })
        return not ok and e.msg:match ": ([%w_]+)=…$"
    end

    it("are told from options and their values", function()
        assert.equal("KEY", refused("set", "prod", "KEY=value"))
        assert.equal("key", refused("set", "prod", "key=value"))
        assert.equal("KEY", refused("set", "prod", "--stage", "KEY=value"))
        assert.equal("KEY", refused("--KEY=value"))
        assert.equal("KEY", refused("set", "prod", "KEY", "=", "value"))
        assert.equal("KEY", refused("set", "prod", "KEY", "=value"))
        assert.equal("KEY", refused("set", "--app", "x", "KEY="))
        assert.is_false(refused("set", "prod", "--file", "KEY=path", "--from=x=y", "--app=web"))
        assert.is_false(refused("set", "prod", "KEY", "--from", "a=b.env", "--json"))
    end)
end)
