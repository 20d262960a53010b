local builtins = require "dgrun.cli.builtins"
local err = require "dgrun.core.err"
local inputs = require "dgrun.cli.inputs"
local tables = require "dgrun.core.table"

local function refused(word, ...)
    local ok, e = pcall(inputs.read_builtin, word, { rest = { ... } })
    assert.is_false(ok)
    return err.object(e)
end

describe("the built-in commands", function()
    it("are all named in the order of the help", function()
        local names = { unpack(builtins.names) }
        table.sort(names)
        assert.same(tables.keys(builtins.commands), names)
    end)

    it("have valid declarations, and a function", function()
        for word, declared in pairs(builtins.commands) do
            for name, action in pairs(inputs.builtin(word).actions) do
                assert.is_string(action.description, word)
                local run = action.run
                if type(run) == "string" then
                    local file, key = run:match "^(%l+)%.([%l_]+)$"
                    run = require("dgrun.cli." .. file)[key]
                end
                assert.is_function(run, word .. " " .. name)
            end
            assert.is_true(declared.actions == nil or declared.run == nil, word)
        end
    end)

    it("read their arguments and options as commands do", function()
        local action, input = inputs.read_builtin("lock",
            { rest = { "hold", "--reason=an incident", "web" } })
        assert.equal("hold", action.name)
        assert.same({ group = "web", reason = "an incident" }, input)
        action, input = inputs.read_builtin("lock", { rest = { "release", "-x" }, dashes = 1 })
        assert.equal("release", action.name)
        assert.same({ group = "-x", force = false }, input)
        assert.same({ limit = 20, since = 7200, here = false, json = true },
            select(2, inputs.read_builtin("history", { rest = { "--json", "--since", "2h" } })))
    end)

    it("refuse what they do not know", function()
        assert.equal("Did you mean 'release'?", refused("lock", "relese", "web").hint)
        assert.equal("dgrun lock needs hold, list or release", refused("lock").msg)
        assert.equal("Did you mean --limit?", refused("history", "--limt", "1").hint)
        assert.equal("It takes no arguments.", refused("list", "x").hint)
        assert.equal("input.invalid", refused("sandbox", "--port", "x").code)
        assert.equal("input.invalid", refused("completion", "tcsh").code)
        assert.equal("input.missing", refused("completion").code)
    end)
end)
