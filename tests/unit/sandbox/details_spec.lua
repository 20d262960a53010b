local json = require "dgrun.core.json"
local world = require "support.sandbox"

local image = "registry.fly.io/web:1"

local function stopped(fly, fields)
    fields = fields or {}
    fields.config = fields.config or { image = image }
    fields.skip_launch = true
    local machine = fly.create(fields)
    fly.wait(machine.id, "stopped")
    return machine, "/v1/apps/web/machines/" .. machine.id
end

describe("metadata", function()
    it("is replaced, merged and removed without a new version", function()
        world.run(function(fly)
            fly.register(image)
            local machine, path = stopped(fly)
            path = path .. "/metadata"
            local function all() return select(2, fly.call("GET", path)) end
            assert.equal(204, (fly.call("PUT", path, { metadata = { a = "1", b = "2" },
                machine_version = machine.instance_id })))
            assert.equal(204, (fly.call("PATCH", path,
                { metadata = { a = json.null, b = "", c = "3" } })))
            assert.same({ c = "3" }, all())
            assert.equal(412, (fly.call("PATCH", path, { metadata = { d = "4" },
                machine_version = "01OLD" })))
            assert.equal(400, (fly.call("PUT", path, { metadata = { d = 4 } })))
            assert.equal(400, (fly.call("PUT", path, {})))
            assert.same({ c = "3" }, all())
            assert.equal("3", select(2, fly.call("GET", path .. "/c")).value)
            assert.equal(404, (fly.call("GET", path .. "/a")))
            assert.equal(204, (fly.call("DELETE", path .. "/c")))
            assert.same({}, all())
            assert.equal(machine.instance_id, fly.get(machine.id).instance_id)
        end)
    end)
end)

describe("a machine's versions", function()
    it("are listed as they were asked for, the newest first", function()
        world.run(function(fly)
            fly.register(image)
            local machine, path = stopped(fly, { config = { image = image, env = { A = "1" } } })
            fly.call("POST", path .. "/metadata/k", { value = "v" })
            local _, updated = fly.call("POST", path, { config = { image = image } })
            local _, versions = fly.call("GET", path .. "/versions")
            assert.same({ updated.instance_id, machine.instance_id },
                { versions[1].version, versions[2].version })
            assert.same({ A = "1" }, versions[2].user_config.env)
            assert.same({}, versions[2].user_config.metadata)
        end)
    end)
end)

describe("creation", function()
    it("checks names, regions, leases and fields", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.create { name = "one", config = { image = image },
                lease_ttl = 60, region = "ams" }
            assert.equal("ams", machine.region)
            assert.equal(409, (fly.call("POST", "/v1/apps/web/machines/" .. machine.id .. "/stop")))
            assert.equal(200, (fly.call("POST", "/v1/apps/web/machines/" .. machine.id .. "/stop",
                nil, { nonce = machine.nonce })))
            local status, body = fly.call("POST", "/v1/apps/web/machines",
                { name = "one", config = { image = image } })
            assert.equal(422, status)
            assert.equal("name_taken", body.status)
            for _, fields in ipairs {
                { region = "mars" }, { lease_ttl = 0 }, { lease_ttl = 1.5 }, { name = 5 },
                { skip_launch = "yes" },
            } do
                fields.config = { image = image }
                assert.equal(400, (fly.call("POST", "/v1/apps/web/machines", fields)))
            end
            for _, config in ipairs {
                { services = { { internal_port = 8080, checks = { { port = 1 } } } } },
                { services = { a = { internal_port = 8080 } } }, { env = { "a" } },
                { checks = { a = { type = "http", port = 80, interval = "1s" } } },
                { checks = { a = { type = "http", port = 80.5 } } },
                { init = { cmd = { json.null } } }, { stop_config = { timeout = "soon" } },
                { mounts = { {}, {} } }, { standbys = { "nosuch" } },
            } do
                config.image = image
                assert.equal(400, (fly.call("POST", "/v1/apps/web/machines", { config = config })))
            end
        end)
    end)

    it("takes null as absent, as Go does", function()
        world.run(function(fly)
            fly.register(image)
            local machine = stopped(fly, { min_secrets_version = json.null,
                config = { image = image, services = json.null, env = { A = json.null } } })
            assert.is_nil(machine.config.services)
        end)
    end)
end)

describe("lists", function()
    it("filter by state, region and metadata, and can be short", function()
        world.run(function(fly)
            fly.register(image)
            local machine = stopped(fly, { region = "ams",
                config = { image = image, metadata = { fly_process_group = "worker" } } })
            fly.wait(fly.web(image).id, "started")
            local function count(query)
                local status, list = fly.call("GET", "/v1/apps/web/machines?" .. query)
                assert.equal(200, status)
                return #list, list[1]
            end
            assert.equal(2, (count "unknown=1"))
            assert.equal(1, (count "state=stopped,suspended"))
            assert.equal(2, (count "state=stopped&state=started"))
            assert.equal(1, (count "region=ams"))
            assert.equal(1, (count "metadata.fly_process_group=worker"))
            assert.equal(0, (count "metadata.fly_process_group=none"))
            local _, short = count "summary=true&region=ams"
            assert.equal(machine.id, short.id)
            assert.is_nil(short.config)
            assert.is_nil(short.events)
        end)
    end)
end)

describe("the life after a destruction", function()
    it("is listed on request, and ends", function()
        world.run(function(fly)
            fly.register(image)
            local machine, path = stopped(fly)
            fly.call("DELETE", path)
            fly.call("GET", path .. "/wait?state=destroyed&timeout=10")
            local _, list = fly.call("GET", "/v1/apps/web/machines?include_deleted=true")
            assert.equal(machine.id, list[1].id)
            assert.equal("destroyed", fly.get(machine.id).state)
            assert.equal(404, (fly.call("POST", path .. "/start")))
            fly.advance(301)
            assert.equal(404, (fly.call("GET", path)))
            assert.equal(404, (fly.call("GET", path .. "/wait?state=destroyed")))
            _, list = fly.call("GET", "/v1/apps/web/machines?include_deleted=true")
            assert.same({}, list)
        end)
    end)
end)

describe("standbys", function()
    it("start when the host of their machine fails", function()
        world.run(function(fly)
            fly.register(image, { seconds = 60 })
            local main = fly.create { config = { image = image } }
            fly.wait(main.id, "started")
            local standby = stopped(fly, { config = { image = image, standbys = { main.id } } })
            assert.equal(200, (fly.call("POST", "/sandbox/v1/apps/web/machines/" .. main.id
                .. "/host", { status = "unreachable" })))
            assert.equal("started", fly.wait(standby.id, "started").state)
            local lost = fly.get(main.id)
            assert.equal("unreachable", lost.host_status)
            assert.is_nil(lost.config)
            assert.equal(image, lost.incomplete_config.image)
        end)
    end)
end)

describe("behaviours by number", function()
    it("let the first machines of an image boot, or get healthy, only", function()
        world.run(function(fly)
            fly.register(image, { fail_after = 1 })
            assert.equal("started", fly.wait(fly.web(image).id, "started").state)
            assert.equal("failed", fly.wait(fly.web(image).id, "failed").state)
            local second = "registry.fly.io/web:2"
            fly.register(second, { sick_after = 1 })
            local good, bad = fly.web(second), fly.web(second)
            local function status(machine)
                local check = fly.get(machine.id).checks[1]
                return check and check.output
            end
            fly.until_true(function() return status(good) == "200 OK" end)
            fly.until_true(function() return status(bad) == "503 Service Unavailable" end)
        end)
    end)

    it("can be set for one machine", function()
        world.run(function(fly)
            fly.register(image)
            local machine, path = stopped(fly)
            local own = "/sandbox/v1/apps/web/machines/" .. machine.id .. "/behaviour"
            assert.equal(422, (fly.call("POST", own, { boots = false })))
            assert.equal(200, (fly.call("POST", own, { boot = "fail" })))
            fly.call("POST", path .. "/start")
            assert.equal("failed", fly.wait(machine.id, "failed").state)
        end)
    end)
end)
