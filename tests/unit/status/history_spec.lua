-- What status tells of the store: who holds the app, whether it is frozen, the last runs.
local environment = require "dgrun.project.environment"
local lease = require "dgrun.run.lock"
local target = require "dgrun.project.target"
local project = require "support.project"
local run = require "dgrun.run"
local status = require "dgrun.status"
local store = require "dgrun.run.store"
local tickets = require "dgrun.run.tickets"

---A run of the group of the app, which does `f`.
local function deploy(root, f)
    return run.execute({ name = "prod_deploy", root = root, input = { ref = "main" } }, function(r)
        lease.take(r, { name = "web", when_busy = "fail", reason = "prod_deploy ref=main" })
        return f and f()
    end)
end

---What is told of production. Its Fly is not there: the store is told all the same.
local function ask(root)
    environment.look_from(root / "scripts")
    require("dgrun.fly.api").use { token = require("host.secret").new("FLY_API_TOKEN", "fo1_x"),
        machines_url = "http://127.0.0.1:1", uiex_url = "http://127.0.0.1:1" }
    local report
    local record = run.execute({ name = "status", root = root, journal = false }, function()
        report = status.ask { targets = target.list(), timeout = 5 }
    end)
    require("dgrun.fly.api").use {}
    assert(record.status == "done", tostring(record.error))
    return report.environments[1]
end

local function new_project()
    return project.make { ["scripts/environments.yaml"] = "environments:\n  prod: { app: web }\n" }
end

local function texts(found)
    local list = {}
    for i, problem in ipairs(found.problems) do
        list[i] = problem.text
    end
    return table.concat(list, "\n")
end

describe("status", function()
    it("tells the last runs of the app, and one that failed", function()
        local root = new_project()
        assert.equal("done", deploy(root).status)
        local found = ask(root)
        assert.equal("prod_deploy", found.runs[1].name)
        assert.same({ ref = "main" }, found.runs[1].inputs)
        assert.equal("", texts(found))
        assert.is_nil(found.lease)

        local failed = deploy(root, function()
            run.step("Deploy", function() error "no" end)
        end)
        assert.equal("failed", failed.status)
        found = ask(root)
        assert.equal(2, #found.runs)
        assert.equal(("prod_deploy failed at step Deploy: dgrun show %s"):format(failed.id),
            texts(found))
    end)

    it("tells who holds the app now", function()
        local root = new_project()
        local found
        local record = deploy(root, function()
            -- Status is a program of its own; here it is another run of this one.
            run.step("Migrate", function() found = ask(root) end)
        end)
        assert.equal("done", record.status)
        assert.equal(record.id, found.lease.tickets[1].run)
        assert.equal("holding", found.lease.tickets[1].state)
        assert.equal("Migrate", found.lease.tickets[1].step)
        local text = require("dgrun.ui.status").text { time = 0, environments = { found } }
        assert.matches("held by " .. record.id, text, 1, true)
    end)

    it("tells that the app is frozen, and why", function()
        local root = new_project()
        local open = store.open(root)
        tickets.hold(open, "web", "incident 42")
        tickets.hold(open, "another", "x")
        open:close()
        local found = ask(root)
        assert.equal(1, #found.lease.holds)
        assert.matches("^web was frozen by .*: incident 42$", texts(found))
    end)
end)
