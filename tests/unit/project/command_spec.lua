local command = require "dgrun.project.command"
local err = require "dgrun.core.err"
local inputs = require "dgrun.cli.inputs"
local usage = require "dgrun.cli.help"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return err.object(e)
end

local function one(declaration)
    declaration.description = declaration.description or "a command"
    declaration.run = declaration.run or function() end
    return command.new(declaration)
end

local machines = command.new {
    description = "machines", default = "list",
    actions = {
        list = { description = "them", run = print, show = tostring,
            arguments = { { name = "where", complete = "target", many = true } } },
        stop = { description = "stops some", run = print, rest = "command", arguments = {
            { name = "where", complete = "target", required = true },
            { name = "ids", many = true, required = true },
        }, inputs = { wait = { type = "seconds", short = "w" }, tag = { many = true } } },
    },
}

describe("the declaration of a command", function()
    it("is one of a function, or of actions", function()
        assert.same({ "" }, one({}).names)
        assert.same({ "list", "stop" }, machines.names)
        assert.equal("input.missing_option", caught(command.new, { description = "x" }).code)
        assert.equal("input.unknown_option",
            caught(command.new, { description = "x", actions = {}, run = print }).code)
    end)

    it("may have pipelines as actions", function()
        local deploy = require("dgrun.project.pipeline").new {
            description = "brings it up", run = print,
            inputs = { pr = { type = "integer", required = true } } }
        local review = command.new { description = "x", actions = { deploy = deploy,
            list = { description = "them", run = print } } }
        assert.equal(deploy, review.actions.deploy.pipeline)
        assert.equal("dgrun x deploy --pr N", usage.line("x deploy", review.actions.deploy))
        local action, rest = command.action(review, { "deploy", "--pr", "7" }, "x")
        assert.same({ pr = 7 }, inputs.parse(action.pipeline, rest, "x deploy"))
    end)

    it("refuses what cannot be written on a command line", function()
        for _, faulty in ipairs {
            { arguments = { { name = "Where" } } },
            { arguments = { { name = "a", many = true }, { name = "b" } } },
            { arguments = { { name = "a", type = "boolean" } } },
            { arguments = { { name = "a", short = "a" } } },
            { arguments = { { name = "a" } }, inputs = { a = {} } },
            { inputs = { a = { short = "x" }, b = { short = "x" } } },
            { inputs = { a = { short = "h" } } },
            { inputs = { a = { many = true, default = "x" } } },
            { rest = "a", inputs = { a = {} } },
        } do
            assert.equal("command.invalid", caught(one, faulty).code)
        end
        assert.equal("command.invalid", caught(command.new,
            { description = "x", actions = { ["Not so"] = {} } }).code)
        assert.equal("command.invalid", caught(command.new,
            { description = "x", default = "lst", actions = {
                list = { description = "x", run = print } } }).code)
    end)

    it("gets --json with what shows, and --app with a place", function()
        local names = {}
        for i, input in ipairs(machines.actions.list.inputs) do
            names[i] = input.name
        end
        assert.same({ "app", "json" }, names)
        assert.is_nil(usage.line("x", machines.actions.stop):find "json")
    end)
end)

describe("the arguments of a command", function()
    local function action(...)
        return (command.action(machines, { ... }, "machines")).name
    end

    local function parse(tokens, dashes)
        return inputs.parse(machines.actions.stop, tokens, "machines stop", dashes)
    end

    it("begin with an action, or with what the default one takes", function()
        assert.equal("stop", action("stop", "prod"))
        assert.equal("list", action())
        assert.equal("list", action "--json")
        local e = caught(action, "stpo")
        assert.equal("input.unknown", e.code)
        assert.equal("Did you mean 'stop'?", e.hint)
    end)

    it("are plain words in order, the last of them a list", function()
        local values = parse { "prod", "a", "--wait", "2m", "b" }
        assert.same({ "prod", { "a", "b" }, 120 }, { values.where, values.ids, values.wait })
        assert.same({ "x", "y" }, parse({ "p", "a", "--tag", "x", "--tag=y" }).tag)
        assert.equal(5, parse({ "p", "a", "-w", "5" }).wait)
    end)

    it("may be followed by a command behind --", function()
        local values = parse({ "prod", "a", "ls", "-la", "--", "x" }, 2)
        assert.same({ "a" }, values.ids)
        assert.same({ "ls", "-la", "--", "x" }, values.command)
    end)

    it("name an app that no environment has with --app", function()
        local values = parse { "--app", "other", "a" }
        assert.equal("other", values.where)
        assert.same({ "a" }, values.ids)
    end)

    it("are refused with everything that is wrong at once", function()
        local e = caught(parse, { "--wait", "soon", "--wat" })
        assert.matches("4 invalid inputs", e.msg)
        assert.matches("WHERE is required", e.msg)
        assert.matches("IDS is required", e.msg)
        assert.matches("%-%-wait must be a time", e.msg)
        assert.matches("Did you mean %-%-wait", e.msg)
        assert.matches("unexpected argument 'b'",
            caught(inputs.parse, one({ arguments = { { name = "a" } } }).actions[""],
                { "a", "b" }, "x").msg)
        assert.matches("unexpected argument '%-z'", caught(parse, { "p", "a", "-z" }).msg)
    end)

    it("are explained", function()
        assert.equal("dgrun machines stop WHERE IDS... [--app APP] [--tag TAG] [--wait TIME] "
            .. "-- COMMAND...", usage.line("machines stop", machines.actions.stop))
        assert.same({ "-w, --wait TIME", "" }, usage.rows(machines.actions.stop)[5])
    end)
end)
