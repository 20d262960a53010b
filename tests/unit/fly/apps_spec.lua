local api = require "dgrun.fly.api"
local apps = require "dgrun.fly.apps"
local fly_run = require "support.fly_run"
local fs = require "host.fs"

local kinds = fly_run.kinds

local function failed(record, code)
    assert.equal("failed", record.status)
    assert.equal(code, record.error.code, tostring(record.error))
    return record.error
end

local function done(record)
    assert.equal("done", record.status, tostring(record.error))
    return record
end

local function kinds_of_addresses(app)
    local list = {}
    for i, one in ipairs(apps.addresses(app)) do
        list[i] = one.kind
    end
    table.sort(list)
    return list
end

describe("fly.apps", function()
    it("creates, finds, lists and destroys, once each", function()
        fly_run.with(function(fly, execute)
            local function create()
                return apps.create { app = "second", network = "own" }
            end
            local record = done(execute(create))
            assert.is_true(record.value)
            assert.same({ "fly.app.create" }, kinds(record))
            record = done(execute(create))
            assert.is_false(record.value)
            assert.same({}, record.effects)
            assert.equal("pending", apps.find("second").status)
            assert.equal("own", apps.find("second").network)
            assert.is_nil(apps.find "third")
            local list = apps.list()
            assert.same({ "second", "web" }, { list[1].name, list[2].name })

            fly.register "registry.fly.io/web:1"
            local function destroy()
                return apps.destroy { app = "web" }
            end
            fly.wait(fly.web("registry.fly.io/web:1").id, "started")
            record = done(execute(destroy))
            assert.is_true(record.value)
            assert.is_nil(apps.find "web")
            record = done(execute(destroy))
            assert.is_false(record.value)
            assert.same({}, record.effects)
        end)
    end)

    it("gives an app one address of each kind", function()
        fly_run.with(function(_, execute)
            local function ensure()
                apps.ensure_addresses { app = "web" }
            end
            assert.same({ "fly.ip.create", "fly.ip.create" }, kinds(done(execute(ensure))))
            assert.same({ "shared_v4", "v6" }, kinds_of_addresses "web")
            assert.same({}, done(execute(ensure)).effects)
            done(execute(function()
                apps.ensure_addresses { app = "web", kinds = { "v4", "private_v6", "v6" } }
            end))
            assert.same({ "private_v6", "shared_v4", "v4", "v6" }, kinds_of_addresses "web")
            failed(execute(function()
                apps.ensure_addresses { app = "web", kinds = { "v5" } }
            end), "input.invalid")
        end)
    end)

    it("does each thing once when its answer is lost, or its call", function()
        local losses = { { reset = true, when = "after" }, { reset = true, when = "before" },
            { status = 504, when = "after" }, { status = 500, when = "before" },
            { cut = true, when = "after" } }
        for _, loss in ipairs(losses) do
            fly_run.with(function(fly, execute)
                local function lose(method, path)
                    fly.fault { method = method, path = path, reset = loss.reset,
                        status = loss.status, cut = loss.cut, when = loss.when }
                end
                lose("POST", "^/v1/apps$")
                lose("POST", "/ip_assignments$")
                done(execute(function()
                    apps.create { app = "second" }
                    apps.ensure_addresses { app = "second" }
                end))
                assert.equal("second", apps.find("second").name)
                assert.same({ "shared_v4", "v6" }, kinds_of_addresses "second")
                lose("DELETE", "^/v1/apps/second$")
                done(execute(function() apps.destroy { app = "second" } end))
                assert.is_nil(apps.find "second")
            end)
        end
    end)

    it("whose creation nobody heard of is found by the next run", function()
        fly_run.with(function(fly, execute)
            -- It is there by the first call; the questions after it fail too.
            fly.fault { method = "GET", path = "^/v1/apps/second$", after = 1, times = 100,
                status = 404 }
            fly.fault { method = "POST", path = "^/v1/apps$", reset = true, when = "after" }
            local record = execute(function() apps.create { app = "second" } end)
            failed(record, "fly.invalid")
            fly.call("DELETE", "/sandbox/v1/faults")
            done(execute(function() apps.create { app = "second" } end))
        end)
    end)

    it("says that a name is somebody else's, and which organisation is not there", function()
        fly_run.with(function(fly, execute)
            fly.fault { method = "GET", path = "^/v1/apps/taken$", status = 403, times = 10 }
            failed(execute(function() apps.create { app = "taken" } end), "fly.name_taken")
            failed(execute(function() apps.list { org = "other" } end), "fly.no_organization")
            failed(execute(function() apps.create { app = "new", org = "other" } end),
                "fly.not_found")
            failed(execute(function() apps.create { app = "Not/valid" } end), "input.invalid")
            local _, made = fly.call("POST", "/v1/apps/web/deploy_token", {})
            api.use { token = require("host.secret").new("T", made.token:match "fm2_.*"),
                machines_url = fly.sandbox.url, sandbox = true, pace = 0.02 }
            failed(execute(function() apps.create { app = "new" } end), "fly.name_taken")
        end)
    end)

    it("that a plan would create is there for the rest of it", function()
        fly_run.with(function(fly, execute)
            assert(fs.write(fly.dir / "fly.toml", [=[
primary_region = "ewr"
[deploy]
release_command = "migrate"
[http_service]
internal_port = 8080
]=]))
            fly.register "registry.fly.io/second:1"
            local plan = done(execute(function()
                apps.create { app = "second" }
                apps.ensure_addresses { app = "second" }
                require("dgrun.secrets").sync { app = "second", secrets = { A = "literal" } }
                require("dgrun.fly.deploy").deploy { app = "second", ha = false,
                    config = fly.dir / "fly.toml", image = "registry.fly.io/second:1" }
            end, true))
            assert.same({ "fly.app.create", "fly.ip.create", "fly.ip.create", "fly.secrets.set",
                "fly.release.create", "fly.release_command.run", "fly.machine.create" },
                kinds(plan))
            assert.is_nil(apps.find "second")
        end)
    end)
end)
