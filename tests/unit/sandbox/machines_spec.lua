local json = require "dgrun.core.json"
local task = require "dgrun.core.task"
local world = require "support.sandbox"

local image = "registry.fly.io/web:1"

describe("the sandbox's machines", function()
    it("refuses what Fly refuses", function()
        world.run(function(fly)
            fly.register(image)
            assert.equal(401, fly.call("GET", "/v1/apps/web", nil, { token = "wrong" }))
            assert.equal(404, fly.call("GET", "/v1/apps/nosuch/machines"))
            assert.equal(404, fly.call("GET", "/v1/nosuch"))
            local status, body = fly.call("POST", "/v1/apps/web/machines",
                { config = { image = image, sevices = {} } })
            assert.equal(400, status)
            assert.matches('unknown field "sevices"', body.error)
            for _, config in ipairs {
                {}, { image = image, schedule = "every 5 minutes" }, { image = 3 },
                { image = image, guest = { cpus = 1, memory_mb = 100 } },
                { image = image, env = { A = 1 } }, { image = "registry.fly.io/web:unknown" },
            } do
                assert.equal(400, (fly.call("POST", "/v1/apps/web/machines", { config = config })))
            end
        end)
    end)

    it("starts in a moment, and shows checks only then", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.web(image)
            assert.equal("created", machine.state)
            assert.same({}, machine.checks)
            machine = fly.wait(machine.id, "started")
            local newest = machine.events[1]
            assert.equal("start", newest.type)
            fly.until_true(function()
                machine = fly.get(machine.id)
                return machine.checks[1] and machine.checks[1].status == "passing"
            end)
            assert.equal("servicecheck-00-http-8080", machine.checks[1].name)
        end)
    end)

    it("gives a new version at an update only, and swaps after the answer", function()
        world.run(function(fly)
            fly.register(image)
            fly.register("registry.fly.io/web:2")
            local machine = fly.web(image)
            fly.wait(machine.id, "started")
            local config = machine.config
            config.image = "registry.fly.io/web:2"
            local path = "/v1/apps/web/machines/" .. machine.id
            local status, updated = fly.call("POST", path, { config = config })
            assert.equal(200, status)
            assert.equal("started", updated.state)
            assert.are_not.equal(machine.instance_id, updated.instance_id)
            assert.equal("replacing", fly.get(machine.id).state)
            local body
            status, body = fly.call("POST", path .. "/start")
            assert.equal(412, status)
            assert.matches("getting replaced", body.error)
            local after = fly.wait(machine.id, "started")
            assert.equal("2", after.image_ref.tag)
            fly.call("POST", path .. "/metadata/k", { value = "v" })
            assert.equal(updated.instance_id, fly.get(machine.id).instance_id)
            assert.equal("v", fly.get(machine.id).config.metadata.k)
            assert.equal(409, (fly.call("POST", path,
                { config = config, current_version = machine.instance_id })))
        end, { pace = 0.3 })
    end)

    it("leaves a machine stopped that was not started before the update", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.create { config = { image = image }, skip_launch = true }
            fly.wait(machine.id, "stopped")
            local path = "/v1/apps/web/machines/" .. machine.id
            fly.call("POST", path, { config = { image = image } })
            assert.equal("stopped", fly.wait(machine.id, "settled").state)
        end)
    end)

    it("destroys an auto_destroy machine after its command, still readable", function()
        world.run(function(fly)
            fly.register(image, { exit_code = 3, log = { "hello" } })
            local machine = fly.create {
                config = { image = image, init = { cmd = { "x" } }, auto_destroy = true,
                    restart = { policy = "no" } },
            }
            assert.equal(200, (fly.call("GET", "/v1/apps/web/machines/" .. machine.id
                .. "/wait?state=destroyed&timeout=10")))
            local exit = fly.get(machine.id).events
            local found
            for _, event in ipairs(exit) do
                found = found or (event.type == "exit" and event)
            end
            assert.equal(3, found.request.exit_event.exit_code)
            local _, machines = fly.call("GET", "/v1/apps/web/machines")
            assert.same({}, machines)
            local _, logs = fly.call("GET", "/api/v1/apps/web/logs?next_token=")
            assert.equal("hello", logs.data[1].attributes.message)
        end)
    end)

    it("restarts a crashing machine and counts", function()
        world.run(function(fly)
            fly.register(image, { crash = true })
            local machine = fly.web(image)
            fly.until_true(function()
                for _, event in ipairs(fly.get(machine.id).events) do
                    if event.type == "exit" and event.request.restart_count > 1 then
                        return event.request.exit_event.restarting
                    end
                end
            end)
        end)
    end)

    it("answers a wait that is not reached with 408", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.create { config = { image = image }, skip_launch = true }
            fly.wait(machine.id, "stopped")
            local status, body = fly.call("GET", "/v1/apps/web/machines/" .. machine.id
                .. "/wait?state=started&timeout=1")
            assert.equal(408, status)
            assert.matches("currently stopped", body.error)
        end)
    end)

    it("leases: one holder, the same nonce at a refresh, an end", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.web(image)
            local path = "/v1/apps/web/machines/" .. machine.id
            local status, lease, _ = fly.call("POST", path .. "/lease?ttl=60")
            assert.equal(201, status)
            local nonce = lease.data.nonce
            local body
            status, body = fly.call("POST", path .. "/lease?ttl=60")
            assert.equal(409, status)
            assert.matches("lease currently held by", body.message)
            assert.equal(409, (fly.call("POST", path .. "/stop")))
            _, lease = fly.call("POST", path .. "/lease?ttl=90", nil, { nonce = nonce })
            assert.equal(nonce, lease.data.nonce)
            assert.equal(200, (fly.call("POST", path .. "/cordon", nil, { nonce = nonce })))
            assert.equal(200, (fly.call("DELETE", path .. "/lease", nil, { nonce = nonce })))
            assert.equal(404, (fly.call("GET", path .. "/lease")))
        end)
    end)

    it("versions secrets, and makes a machine wait for theirs", function()
        world.run(function(fly)
            fly.register(image)
            local _, set = fly.call("POST", "/v1/apps/web/secrets", { values = { A = "one" } })
            assert.equal(1, set.version)
            local first = set.secrets[1].digest
            _, set = fly.call("POST", "/v1/apps/web/secrets",
                { values = { A = "two", B = "x", C = json.null } })
            assert.equal(2, set.version)
            assert.are_not.equal(first, set.secrets[1].digest)
            local status, body = fly.call("POST", "/v1/apps/web/machines",
                { config = { image = image }, min_secrets_version = 3 })
            assert.equal(412, status)
            assert.matches("not yet available", body.error)
            local _, list = fly.call("GET", "/v1/apps/web/secrets")
            assert.equal(2, #list.secrets)
            assert.is_nil(list.secrets[1].value)
        end)
    end)

    it("goes on after it was ended", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.web(image)
            fly.reopen()
            assert.equal("started", fly.wait(machine.id, "started").state)
        end)
    end)

    it("keeps release versions and final statuses", function()
        world.run(function(fly)
            local body = { app_name = "web", image = image, definition = { app = "web" },
                strategy = "ROLLING" }
            local status, made = fly.call("POST", "/api/v1/releases", body)
            assert.equal(201, status)
            assert.equal(1, made.release.version)
            assert.equal(404, (fly.call("GET", "/api/v1/apps/web/releases/current")))
            local path = "/api/v1/releases/" .. made.release.id
            assert.equal(200, (fly.call("PATCH", path, { status = "running" })))
            assert.equal(200, (fly.call("PATCH", path, { status = "complete" })))
            assert.equal(422, (fly.call("PATCH", path, { status = "failed" })))
            local _, current = fly.call("GET", "/api/v1/apps/web/releases/current")
            assert.equal("complete", current.status)
        end)
    end)

    it("fails on request: a status, a reset, once each", function()
        world.run(function(fly)
            fly.call("POST", "/sandbox/v1/faults",
                { method = "GET", path = "/v1/apps/web$", status = 503 })
            fly.call("POST", "/sandbox/v1/faults",
                { method = "POST", path = "/secrets", reset = true })
            assert.equal(503, (fly.call("GET", "/v1/apps/web")))
            assert.equal(200, (fly.call("GET", "/v1/apps/web")))
            local status, e = fly.call("POST", "/v1/apps/web/secrets", { values = { A = "1" } })
            assert.is_nil(status)
            assert.equal("http.reset", e.code)
            task.checkpoint()
        end)
    end)
end)

describe("the sandbox's folder", function()
    it("belongs to one process at a time", function()
        world.run(function(fly)
            local ok, e = pcall(require("sandbox").start, { dir = fly.dir })
            assert.is_false(ok)
            assert.equal("sandbox.in_use", e.code)
        end)
    end)
end)
