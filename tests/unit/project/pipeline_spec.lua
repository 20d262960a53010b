local err = require "dgrun.core.err"
local pipeline = require "dgrun.project.pipeline"
local inputs = require "dgrun.cli.inputs"
local usage = require "dgrun.cli.help"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return err.object(e)
end

local function declare(list, run)
    return pipeline.new { description = "a pipeline", inputs = list, run = run or function() end }
end

describe("the declaration of a pipeline", function()
    it("names the nearest known key for an unknown one", function()
        local e = caught(pipeline.new, { descripton = "x", run = print })
        assert.equal("input.unknown_option", e.code)
        assert.equal("Did you mean 'description'?", e.hint)
    end)

    it("has a group of which one run goes on at a time", function()
        local function concurrency(value)
            return pipeline.new { description = "x", run = print, concurrency = value,
                inputs = { env = {} } }
        end
        local p = concurrency { group = "a" }
        assert.same({ group = "a", when_busy = "wait" }, p.concurrency)
        assert.equal("a", pipeline.group(p, {}))
        p = concurrency { group = function(input) return "app-" .. input.env end,
            when_busy = "fail" }
        assert.equal("app-prod", pipeline.group(p, { env = "prod" }))
        assert.equal("Did you mean 'supersede'?",
            caught(concurrency, { group = "a", when_busy = "superseed" }).hint)
        assert.equal("pipeline.invalid", caught(concurrency, { group = "" }).code)
        assert.equal("input.unknown_option", caught(concurrency, { grp = "a" }).code)
    end)

    it("has plain words as a command has, and --app with a place", function()
        local p = pipeline.new { description = "x", run = print, inputs = { to = {} },
            arguments = { { name = "where", complete = "target", required = true },
                { name = "more", many = true } } }
        assert.same({ "where", "more" }, { p.arguments[1].name, p.arguments[2].name })
        assert.same({ where = "prod", more = { "a", "b" }, to = "3" },
            inputs.parse(p, { "prod", "a", "--to", "3", "b" }, "back"))
        assert.same({ where = "web", app = "web", more = { "a" } },
            inputs.parse(p, { "--app", "web", "a" }, "back"))
        assert.equal("dgrun back WHERE [MORE...] [--app APP] [--to TO]", usage.line("back", p))
        local e = caught(pipeline.new, { description = "x", run = print,
            arguments = { { name = "Where" } } })
        assert.equal("pipeline.invalid", e.code)
        assert.equal("dg.pipeline", e.op)
        assert.same({}, declare({}).arguments)
    end)

    it("refuses an unknown key or type of an input", function()
        assert.equal("Did you mean 'default'?",
            caught(declare, { ref = { defualt = "main" } }).hint)
        local e = caught(declare, { ref = { type = "strin" } })
        assert.equal("pipeline.invalid", e.code)
        assert.equal("Did you mean 'string'?", e.hint)
    end)

    it("refuses a default that does not fit the type", function()
        local faults = {
            { type = "integer", default = 1.5 },
            { type = "boolean", default = "yes" },
            { default = 7 },
            { choices = { "a", "b" }, default = "c" },
            { type = "choice" },
            { type = "integer", choices = { "1" } },
            { required = true, default = "x" },
        }
        for _, input in ipairs(faults) do
            assert.equal("pipeline.invalid", caught(declare, { x = input }).code)
        end
    end)

    it("refuses names that cannot be written or that are dgrun's own", function()
        for _, name in ipairs { "Ref", "a-b", "help", "sandbox", "1st" } do
            assert.equal("pipeline.invalid", caught(declare, { [name] = {} }).code)
        end
    end)

    it("lists required inputs first, then by name", function()
        local p = declare { b = {}, a = {}, z = { required = true } }
        assert.same({ "z", "a", "b" }, { p.inputs[1].name, p.inputs[2].name, p.inputs[3].name })
    end)
end)

describe("inputs on the command line", function()
    local p = declare {
        ref = { default = "main" },
        allow_older = { type = "boolean" },
        cache = { type = "boolean", default = true },
        count = { type = "integer" },
        color = { choices = { "red", "green" } },
    }

    local function parse(...)
        return inputs.parse(p, { ... }, "deploy")
    end

    it("have defaults", function()
        assert.same({ ref = "main", allow_older = false, cache = true }, parse())
    end)

    it("are read in all ways of writing", function()
        assert.equal("v1", parse("--ref", "v1").ref)
        assert.equal("v1=2", parse("--ref=v1=2").ref)
        assert.equal("", parse("--ref=").ref)
        assert.is_true(parse("--allow-older").allow_older)
        assert.is_true(parse("--allow_older").allow_older)
        assert.is_false(parse("--no-cache").cache)
        assert.is_false(parse("--cache=no").cache)
        assert.equal(-3, parse("--count", "-3").count)
        assert.equal("green", parse("--color", "green").color)
    end)

    it("take a value that starts with one dash", function()
        assert.equal("-x", parse("--ref", "-x").ref)
    end)

    it("do not swallow the next option as their value", function()
        local e = caught(parse, "--ref", "--upload-pack=x")
        assert.equal("input.invalid", e.code)
        assert.matches("--ref needs a value", e.msg)
        assert.equal("--upload-pack=x", parse("--ref=--upload-pack=x").ref)
    end)

    it("name the nearest known one for an unknown one", function()
        local e = caught(parse, "--rfe", "v1")
        assert.equal("input.unknown", e.code)
        assert.equal("deploy: unknown input --rfe", e.msg)
        assert.equal("Did you mean --ref?", e.hint)
    end)

    it("are refused when they do not fit", function()
        assert.matches("must be a whole number, not '2x'", caught(parse, "--count", "2x").msg)
        assert.matches("must be a whole number", caught(parse, "--count=99999999999999999999").msg)
        assert.matches("one of red, green, not 'gren'", caught(parse, "--color", "gren").msg)
        assert.matches("must be true or false, not 'maybe'", caught(parse, "--cache=maybe").msg)
        assert.matches("takes no value", caught(parse, "--no-cache=true").msg)
        assert.matches("given twice", caught(parse, "--ref", "a", "--ref", "b").msg)
        assert.matches("unexpected argument 'v1'", caught(parse, "v1").msg)
    end)

    it("are refused with everything that is wrong at once", function()
        local needed = declare { ref = { required = true }, count = { type = "integer" } }
        local e = caught(inputs.parse, needed, { "--count", "x", "--colour", "red" }, "deploy")
        assert.equal("input.invalid", e.code)
        assert.matches("3 invalid inputs", e.msg)
        assert.matches("--count must be", e.msg)
        assert.matches("unknown input %-%-colour", e.msg)
        assert.matches("--ref is required", e.msg)
    end)

    it("are explained", function()
        local rows = usage.rows(declare {
            ref = { default = "main", help = "git ref" },
            slow = { type = "boolean", default = true },
            size = { choices = { "s", "m" }, required = true, help = "of it" },
        })
        assert.same({
            { "--size s|m", "of it (required)" },
            { "--ref REF", "git ref (default main)" },
            { "--no-slow", "" },
        }, rows)
    end)
end)
