local err = require "dgrun.core.err"
local fs = require "host.fs"
local output = require "dgrun.project.output"
local run = require "dgrun.run"
local secret = require "host.secret"
local task = require "dgrun.core.task"

local function given(values, plan)
    local dir = assert(fs.temp_dir "output")
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    local file = dir / "github"
    assert(fs.write(file, "earlier=1\n"))
    require("host.proc").export("GITHUB_OUTPUT", file)
    local record = run.execute({ name = "x", root = dir, journal = false, plan = plan or false },
        function() output.give(values) end)
    require("host.proc").export("GITHUB_OUTPUT", nil)
    return record, assert(fs.read(file))
end

describe("dg.output", function()
    it("tells at the end of the run, and writes for GitHub", function()
        local record, text = given { url = "https://a.fly.dev", count = 3, done = true }
        assert.equal("done", record.status, tostring(record.error))
        assert.equal("earlier=1\ncount=3\ndone=true\nurl=https://a.fly.dev\n", text)
        assert.same({ { name = "count", value = "3" }, { name = "done", value = "true" },
            { name = "url", value = "https://a.fly.dev" } }, record.facts)
        record, text = given({ url = "https://a.fly.dev" }, true)
        assert.equal("done", record.status, tostring(record.error))
        assert.equal("earlier=1\n", text)
    end)

    it("lets nothing in that would be more than one output", function()
        for name, value in pairs {
            url = "https://a\nevil=1", cr = "a\rb", esc = "a\27[31m", nul = "a\0b",
            ["a=b"] = "x", ["a\nb"] = "x", [""] = "x", ["<<EOF"] = "x", list = { 1 },
            sealed = secret.new("KEY", "do-not-tell"), bidi = "a\226\128\174b",
        } do
            local record, text = given { good = "1", [name] = value }
            assert.equal("failed", record.status, name)
            assert.equal("input.invalid", err.object(record.error).code)
            assert.equal("earlier=1\n", text)
        end
    end)
end)
