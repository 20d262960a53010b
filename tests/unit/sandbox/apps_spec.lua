local world = require "support.sandbox"

local image = "registry.fly.io/web:1"

describe("apps", function()
    it("are created with a free name, and deleted with all that is theirs", function()
        world.run(function(fly)
            local status, made = fly.call("POST", "/v1/apps?wait=true",
                { name = "second", org_slug = "personal", network = "net" })
            assert.equal(201, status)
            assert.equal("net", made.network)
            local body
            status, body = fly.call("POST", "/v1/apps", { name = "second", org_slug = "personal" })
            assert.equal(422, status)
            assert.equal("name_taken", body.status)
            assert.equal(404, (fly.call("POST", "/v1/apps", { name = "x", org_slug = "other" })))
            assert.equal(422, (fly.call("POST", "/v1/apps", { name = "B ad" })))
            fly.call("POST", "/v1/apps/second/secrets/A", { value = "old" })
            fly.call("POST", "/v1/apps/second/volumes", { name = "data" })
            assert.equal(1, select(2, fly.call("GET", "/v1/apps/second")).volume_count)
            assert.equal(2, select(2, fly.call("GET", "/v1/apps?org_slug=personal")).total_apps)
            assert.equal(202, (fly.call("DELETE", "/v1/apps/second")))
            assert.equal(404, (fly.call("GET", "/v1/apps/second")))
            fly.call("POST", "/v1/apps", { name = "second", org_slug = "personal" })
            assert.same({}, select(2, fly.call("GET", "/v1/apps/second/secrets")).secrets)
        end)
    end)

    it("have addresses until they are released", function()
        world.run(function(fly)
            local path = "/v1/apps/web/ip_assignments"
            local _, first = fly.call("POST", path, { type = "v6" })
            local _, second = fly.call("POST", path, { type = "shared_v4" })
            assert.is_true(second.shared)
            assert.equal(422, (fly.call("POST", path, { type = "v5" })))
            assert.equal(204, (fly.call("DELETE", path .. "/" .. first.ip)))
            assert.equal(404, (fly.call("DELETE", path .. "/" .. first.ip)))
            local _, list = fly.call("GET", path)
            assert.same({ second.ip }, { list.ips[1].ip, list.ips[2] and list.ips[2].ip })
            local _, third = fly.call("POST", path, { type = "shared_v4" })
            assert.are_not.equal(second.ip, third.ip)
        end)
    end)

    it("have tokens that are good for them alone, and for a time", function()
        world.run(function(fly)
            local status, made = fly.call("POST", "/v1/apps/web/deploy_token", { expiry = "2h" })
            assert.equal(200, status)
            assert.matches("^FlyV1 fm2_", made.token)
            local as = { token = made.token }
            assert.equal(200, (fly.call("GET", "/v1/apps/web/machines", nil, as)))
            assert.equal(403, (fly.call("GET", "/v1/apps/other/machines", nil, as)))
            assert.equal(403, (fly.call("POST", "/api/v1/releases", { app_name = "other" }, as)))
            local _, current = fly.call("GET", "/v1/tokens/current", nil, as)
            assert.same({ "web" }, current.tokens[1].apps)
            fly.reopen()
            assert.equal(200, (fly.call("GET", "/v1/apps/web", nil, as)))
            fly.advance(7201)
            assert.equal(401, (fly.call("GET", "/v1/apps/web", nil, as)))
            assert.equal(400, (fly.call("POST", "/v1/apps/web/deploy_token", { expiry = "x" })))
        end, { apps = { "web", "other" } })
    end)
end)

describe("the organization", function()
    it("lists the machines of all apps by pages", function()
        world.run(function(fly)
            fly.register(image)
            for _, app in ipairs { "web", "web", "other" } do
                fly.call("POST", ("/v1/apps/%s/machines"):format(app),
                    { config = { image = image }, skip_launch = true })
            end
            local path, seen, cursor = "/v1/orgs/personal/machines?limit=2", {}, ""
            repeat
                local status, page = fly.call("GET", path .. "&cursor=" .. cursor)
                assert.equal(200, status)
                for _, machine in ipairs(page.machines) do
                    seen[#seen + 1] = machine.app_name
                end
                cursor = page.next_cursor
            until not cursor
            table.sort(seen)
            assert.same({ "other", "web", "web" }, seen)
            assert.equal(400, (fly.call("GET", "/v1/orgs/personal/machines?limit=0")))
            assert.equal(400, (fly.call("GET", "/v1/orgs/personal/machines?updated_after=now")))
            assert.equal(404, (fly.call("GET", "/v1/orgs/other/machines")))
            local _, none = fly.call("GET",
                "/v1/orgs/personal/machines?updated_after=2999-01-01T00:00:00Z")
            assert.same({}, none.machines)
        end, { apps = { "web", "other" } })
    end)

    it("is known to the web's API", function()
        world.run(function(fly)
            local _, list = fly.call("GET", "/api/v1/organizations?admin=false")
            assert.equal("personal", list.organizations[1].slug)
            local _, one = fly.call("GET", "/api/v1/organizations/personal")
            assert.equal("CURRENT", one.organization.billing_status)
            assert.equal(404, (fly.call("GET", "/api/v1/organizations/other")))
        end)
    end)
end)

describe("the platform", function()
    it("has regions and places machines in them", function()
        world.run(function(fly)
            local _, regions = fly.call("GET", "/v1/platform/regions")
            assert.equal("ewr", regions.nearest)
            assert.equal("ams", regions.regions[1].code)
            local status, placed = fly.call("POST", "/v1/platform/placements",
                { org_slug = "personal", region = "ams,fra", count = 2 })
            assert.equal(200, status)
            assert.same({ "ams", 2, "fra", 0 }, { placed.regions[1].region,
                placed.regions[1].count, placed.regions[2].region, placed.regions[2].count })
            assert.equal(400, (fly.call("POST", "/v1/platform/placements",
                { org_slug = "personal", region = "mars" })))
            assert.equal(404, (fly.call("POST", "/v1/platform/placements", {})))
        end)
    end)
end)

describe("records of the web's API", function()
    it("hold builds", function()
        world.run(function(fly)
            local status, build = fly.call("POST", "/api/v1/builds",
                { app_name = "web", builder_type = "local", machine_id = "",
                    strategies_available = { "Local" } })
            assert.equal(200, status)
            local _, done = fly.call("POST", "/api/v1/builds/finish",
                { app_name = "web", build_id = build.id, status = "completed" })
            assert.same({ build.id, "completed" }, { done.id, done.status })
            assert.equal(404, (fly.call("POST", "/api/v1/builds/finish",
                { app_name = "web", build_id = 99, status = "failed" })))
            assert.equal(422, (fly.call("POST", "/api/v1/builds/finish",
                { app_name = "web", build_id = build.id, status = "fine" })))
        end)
    end)

    it("tell when each app was released", function()
        world.run(function(fly)
            assert.same({}, select(2, fly.call("GET", "/api/v1/releases/all_current")))
            local _, made = fly.call("POST", "/api/v1/releases", { app_name = "web",
                image = image, definition = { app = "web" }, strategy = "ROLLING" })
            local path = "/api/v1/releases/" .. made.release.id
            fly.call("PATCH", path, { status = "running" })
            fly.call("PATCH", path, { status = "complete" })
            assert.equal(made.release.created_at,
                select(2, fly.call("GET", "/api/v1/releases/all_current")).web)
        end)
    end)
end)

describe("volumes", function()
    it("are made, changed, extended and destroyed", function()
        world.run(function(fly)
            local path = "/v1/apps/web/volumes"
            local status, volume = fly.call("POST", path, { name = "data", region = "ams",
                size_gb = 3 })
            assert.equal(200, status)
            local own = path .. "/" .. volume.id
            local _, changed = fly.call("PUT", own, { snapshot_retention = 7,
                auto_backup_enabled = false })
            assert.same({ 7, false }, { changed.snapshot_retention, changed.auto_backup_enabled })
            local _, extended = fly.call("PUT", own .. "/extend", { size_gb = 5 })
            assert.same({ 5, false }, { extended.volume.size_gb, extended.needs_restart })
            assert.equal(400, (fly.call("PUT", own .. "/extend", { size_gb = 4 })))
            assert.equal(422, (fly.call("POST", path, { name = "Da ta" })))
            assert.equal(400, (fly.call("POST", path, { name = "data", size_gb = 0 })))
            assert.equal(5, select(2, fly.call("GET", own)).size_gb)
            local _, gone = fly.call("DELETE", own)
            assert.equal("pending_destroy", gone.state)
            assert.equal(1, #select(2, fly.call("GET", path)))
            fly.advance(301)
            assert.equal(0, #select(2, fly.call("GET", path)))
            assert.equal(404, (fly.call("GET", own)))
        end)
    end)

    it("belong to one machine in their region", function()
        world.run(function(fly)
            fly.register(image)
            local _, volume = fly.call("POST", "/v1/apps/web/volumes",
                { name = "data", region = "ams" })
            local own = "/v1/apps/web/volumes/" .. volume.id
            local function create(region, id)
                return fly.call("POST", "/v1/apps/web/machines", { region = region,
                    skip_launch = true,
                    config = { image = image, mounts = { { volume = id, path = "/data" } } } })
            end
            assert.equal(422, (create("ams", "vol_none")))
            assert.equal(422, (create("fra", volume.id)))
            local status, machine = create("ams", volume.id)
            assert.equal(200, status)
            assert.equal(machine.id, select(2, fly.call("GET", own)).attached_machine_id)
            assert.equal(412, (create("ams", volume.id)))
            assert.equal(412, (fly.call("DELETE", own)))
            fly.wait(machine.id, "stopped")
            local path = "/v1/apps/web/machines/" .. machine.id
            assert.equal(422, (fly.call("POST", path, { config = { image = image } })))
            assert.equal(200, (fly.call("POST", path, { config = { image = image,
                mounts = { { volume = volume.id, path = "/other" } } } })))
            fly.reopen()
            fly.wait(machine.id, "stopped")
            fly.call("DELETE", path)
            fly.wait(machine.id, "destroyed")
            assert.equal(200, (fly.call("DELETE", own)))
        end)
    end)
end)
