local sample = require "support.sample"

describe("dgrun plan", function()
    it("lists every effect of a first deploy and causes none", function()
        local project = sample.new { fresh = true }
        project:with_fly(function() end)
        local before = project:snapshot()
        local plan = project:run { "--sandbox", "plan", "prod_deploy", "--ref", "v1.2.0" }
        assert.equal(0, plan.status, plan.all)
        assert.equal(before, project:snapshot())
        for _, text in ipairs {
            "apply 9 revision", "set ACCESS_LOG, DATABASE_URL", "build image",
            "allocate a v6", "create a release", "run the release command",
            "create a machine of group app", "create the cron machine", "would probe",
        } do
            assert.matches(text, plan.stdout, 1, true)
        end
        -- What the run then does is what the plan said.
        local run = project:run { "--sandbox", "prod_deploy", "--ref", "v1.2.0" }
        for line in run.stdout:gmatch("\n  ([+~!-] [^\n]+)") do
            assert.matches(line, plan.stdout, 1, true)
        end
    end)

    it("causes nothing on what runs either", function()
        local project = sample.new { fresh = true }
        assert.equal(0, project:run({ "--sandbox", "prod_deploy", "--ref", "v1.1.0", "--image",
            project:image "one" }).status)
        local before = project:snapshot()
        local plan = project:run { "--sandbox", "plan", "prod_deploy" }
        assert.equal(0, plan.status, plan.all)
        assert.matches("apply 2 revision", plan.stdout, 1, true)
        assert.matches("metadata.dgrun_commit", plan.stdout, 1, true)
        assert.equal(before, project:snapshot())
    end)

    local doors = {
        ["http POST"] = [[
            local dg = require "dgrun"
            dg.http.request { url = "http://127.0.0.1:1/", method = "POST", body = "x" }]],
        ["the host's http"] = [[
            local r, e = require("host.http").request { url = "http://127.0.0.1:1/",
                method = "PUT" }
            error(e, 0)]],
        ["the host's proc"] = [[
            local r, e = require("host.proc").spawn { argv = { "touch", "written" } }
            error(e, 0)]],
        ["a file"] = [[assert(io.open("written", "w"))]],
        ["the host's fs"] = [[
            local ok, e = require("host.fs").write("written", "x")
            error(e, 0)]],
        ["os.remove"] = [[assert(os.remove("README.md"))]],
        ["os.execute"] = [[os.execute("touch written")]],
        ["SQLite"] = [[
            local db = assert(require("host.sqlite").open("prod.db"))
            local ok, e = db:exec("CREATE TABLE written(a)")
            db:close()
            error(e, 0)]],
    }
    it("refuses a script that writes, through whatever door", function()
        local project = sample.new()
        project:write("prod.db", "")
        for name, script in pairs(doors) do
            project:write("scripts/sneaky.lua", script)
            local before = project:snapshot()
            local plan = project:run { "plan", "sneaky" }
            assert.equal(1, plan.status, name .. ": " .. plan.all)
            assert.equal(before, project:snapshot(), name)
        end
    end)

    it("lists a command of a script, and does not run it", function()
        local project = sample.new()
        project:write("scripts/toucher.lua",
            'require("dgrun").proc.run { argv = { "touch", "written" } }')
        local before = project:snapshot()
        local plan = project:run { "plan", "toucher" }
        assert.equal(0, plan.status, plan.all)
        assert.matches("! run touch written", plan.stdout, 1, true)
        assert.equal(before, project:snapshot())
    end)

    it("lets a script read", function()
        local project = sample.new()
        project:write("scripts/reader.lua", [[
            local dg = require "dgrun"
            print(#assert(io.open("README.md")):read("*a") > 10)
            print(dg.proc.run({ argv = { "echo", "hello" }, read_only = true }).stdout)]])
        local plan = project:run { "plan", "reader" }
        assert.equal(0, plan.status, plan.all)
        assert.matches("true\nhello", plan.stdout)
    end)
end)
