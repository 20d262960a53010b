-- Review apps on the local Fly: made, marked, listed, swept, destroyed.
local environment = require "dgrun.project.environment"
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local project = require "support.project"
local review = require "dgrun.review"

local kinds = fly_run.kinds

local yaml = [[
environments:
  prod: { app: shop }
templates:
  review:
    app: shop-pr-{pr}
    url: https://shop-pr-{pr}.fly.dev
    secrets:
      literal: { A: "1", PUBLIC_URL: "https://shop-pr-{pr}.fly.dev" }
]]

local function done(record)
    assert.equal("done", record.status, tostring(record.error))
    return record
end

local function refused(record, code)
    assert.equal("failed", record.status)
    assert.equal(code, record.error.code, tostring(record.error))
    return record.error
end

local function with(body)
    fly_run.with(function(fly, execute)
        environment.look_from(project.make { ["scripts/environments.yaml"] = yaml } / "scripts")
        local on = { fly = fly, execute = execute, dropped = {} }
        function on.create(pr)
            return execute(function()
                return review.create { environment = review.environment { pr = pr } }
            end)
        end
        ---A database hook that keeps what it was asked to drop.
        function on.database(app, env)
            assert.equal(app, env.app)
            return { drop = function() table.insert(on.dropped, app) end }
        end
        function on.destroy(pr)
            return execute(function()
                return review.destroy { database = on.database,
                    environment = review.environment { pr = pr, lazy = true } }
            end)
        end
        function on.make(name)
            assert(fly.call("POST", "/v1/apps", { name = name, org_slug = "personal" }) == 201)
        end
        function on.names()
            local _, answer = fly.call("GET", "/v1/apps?org_slug=personal")
            local names = {}
            for i, app in ipairs(answer.apps) do
                names[i] = app.name
            end
            return names
        end
        ---An app that was deployed so many days ago.
        function on.deployed(pr, days)
            done(on.create(pr))
            local app = review.app(pr)
            fly.register(("registry.fly.io/%s:1"):format(app))
            local _, made = fly.call("POST", "/api/v1/releases", { app_name = app,
                strategy = "ROLLING", image = ("registry.fly.io/%s:1"):format(app),
                definition = { app = app } })
            fly.call("PATCH", "/api/v1/releases/" .. made.release.id, { status = "complete" })
            fly.call("POST", ("/v1/apps/%s/machines"):format(app), { config = {
                image = ("registry.fly.io/%s:1"):format(app), metadata = {
                    fly_platform_version = "v2", dgrun_commit = ("%040d"):format(pr) } } })
            on.age(app, days)
        end
        function on.age(app, days)
            fly.sandbox.close()
            local path = fly.dir / "state.json"
            local state = json.decode(assert(fs.read(path)))
            local long_ago = require("host.time").iso(require("host.time").wall() - days * 86400)
            for _, release in ipairs(state.apps[app].releases) do
                release.created_at = long_ago
            end
            for _, secret in pairs(state.apps[app].secrets) do
                secret.updated_at = long_ago
            end
            assert(fs.write(path, json.encode(state)))
            fly.reopen()
            require("dgrun.fly.api").use { token = fly.sandbox.token, sandbox = true,
                machines_url = fly.sandbox.url, api_url = fly.sandbox.url,
                uiex_url = fly.sandbox.url, pace = 0.02 }
        end
        body(on)
    end, { apps = { "shop" } })
end

describe("a review app", function()
    it("is made, marked, and given addresses, once", function()
        with(function(on)
            local record = done(on.create(12))
            assert.same({ "fly.app.create", "fly.secrets.set", "fly.ip.create", "fly.ip.create" },
                kinds(record))
            assert.same({ app = "shop-pr-12", url = "https://shop-pr-12.fly.dev" }, record.value)
            assert.same({}, done(on.create(12)).effects)
            assert.equal(2, #require("dgrun.fly.apps").addresses "shop-pr-12")
            local _, answer = on.fly.call("GET", "/v1/apps/shop-pr-12/secrets")
            assert.equal("DGRUN_REVIEW", answer.secrets[1].name)
        end)
    end)

    it("is completed when it was unfinished", function()
        with(function(on)
            on.make "shop-pr-12"
            assert.same({ "fly.secrets.set", "fly.ip.create", "fly.ip.create" },
                kinds(done(on.create(12))))
            on.make "shop-pr-13"
            done(on.destroy(13))
            assert.same({ "shop", "shop-pr-12" }, on.names())
        end)
    end)

    it("is destroyed, its database first, once", function()
        with(function(on)
            done(on.create(12))
            assert.same({ "fly.app.destroy" }, kinds(done(on.destroy(12))))
            assert.same({ "shop-pr-12" }, on.dropped)
            assert.same({ "shop" }, on.names())
            assert.same({}, done(on.destroy(12)).effects)
            -- Killed between the two, there is still a database to ask for.
            assert.same({ "shop-pr-12", "shop-pr-12" }, on.dropped)
        end)
    end)

    it("is no app of somebody else", function()
        with(function(on)
            for pr, secret in pairs { [12] = true, [13] = false } do
                local app = "shop-pr-" .. pr
                on.make(app)
                if secret then
                    on.fly.call("POST", ("/v1/apps/%s/secrets/KEY"):format(app), { value = "x" })
                else
                    on.fly.call("POST", ("/v1/apps/%s/volumes"):format(app), { name = "data" })
                end
                assert.matches("dgrun did not create it", refused(on.create(pr),
                    "refused.not_ours").msg)
                refused(on.destroy(pr), "refused.not_ours")
            end
            assert.same({}, on.dropped)
            assert.same({ "shop", "shop-pr-12", "shop-pr-13" }, on.names())
            refused(on.execute(function()
                review.destroy { environment = environment.get "prod" }
            end), "refused.not_review")
        end)
    end)

    it("gets the secrets of its environment, and more", function()
        with(function()
            local env = review.environment { pr = 12, lazy = true }
            assert.same({ A = "2", PUBLIC_URL = "https://shop-pr-12.fly.dev", DATABASE_URL = "u" },
                review.secrets(env, { DATABASE_URL = "u", A = "2" }))
            assert.equal("shop-pr-12", review.app(12))
        end)
    end)
end)

describe("review apps", function()
    it("are listed, the oldest first, with what is known of them", function()
        with(function(on)
            on.deployed(7, 2)
            on.deployed(12, 9)
            done(on.create(3))
            on.make "shop-pr-1"
            on.make "shop-pr-2"
            on.fly.call("POST", "/v1/apps/shop-pr-2/secrets/KEY", { value = "x" })
            on.make "shop-pr-x"
            on.make "shop-prod"
            local list = review.list()
            local seen = {}
            for i, one in ipairs(list) do
                seen[i] = ("%d %s %s"):format(one.pr, one.state,
                    one.age and math.floor(one.age / 86400) or "-")
            end
            assert.same({ "1 empty -", "2 foreign -", "12 deployed 9", "7 deployed 2",
                "3 unfinished 0" }, seen)
            assert.equal(("%040d"):format(12), list[3].commit)
            assert.equal("https://shop-pr-12.fly.dev", list[3].url)
            assert.equal(1, list[3].machines)
            local text = require("dgrun.ui.review").text(list)
            assert.matches("shop%-pr%-12 +deployed +000000000000 +9d ago +https://shop%-pr%-12",
                text)
            assert.matches("shop%-pr%-2 +foreign +%- +never +%-\n", text)
            assert.equal("No review apps.\n", require("dgrun.ui.review").text {})
        end)
    end)

    local all = {}
    for i, one in ipairs { { 1, "deployed", 10 }, { 2, "deployed", 3 }, { 3, "unfinished", 8 },
        { 4, "foreign", 90 }, { 5, "empty" }, { 6, "deployed", 9 } } do
        all[i] = { pr = one[1], app = "a" .. one[1], state = one[2],
            age = one[3] and one[3] * 86400 }
    end

    local function strays(opts)
        local numbers = {}
        for i, one in ipairs(require("dgrun.review.list").pick(all, opts)) do
            numbers[i] = one.pr
        end
        return numbers
    end

    it("are strays when they are old, or closed, or both where both are asked", function()
        assert.same({ 1, 3, 6 }, strays { older = 7 * 86400 })
        assert.same({ 3, 6 }, strays { open = "1,2" })
        assert.same({ 3, 6 }, strays { open = { 1, 2 } })
        assert.same({ 1, 2, 3, 6 }, strays { open = "none" })
        assert.same({ 3, 6 }, strays { older = 7 * 86400, open = "1, 12" })
        assert.same({}, strays { older = 100 * 86400 })
        for _, open in ipairs { "", ",", "1;2", "all", "-1", {}, { 0 }, { "1" } } do
            local ok, e = pcall(strays, { open = open })
            assert.is_false(ok)
            assert.equal("input.invalid", e.code)
        end
        assert.equal("input.missing", select(2, pcall(strays, {})).code)
    end)

    it("are swept, and nothing else", function()
        with(function(on)
            on.deployed(7, 2)
            on.deployed(12, 9)
            on.make "shop-pr-1"
            on.make "shop-pr-2"
            on.fly.call("POST", "/v1/apps/shop-pr-2/secrets/KEY", { value = "x" })
            local function sweep(opts, plan)
                opts.database = on.database
                return on.execute(function() return review.sweep(opts) end, plan)
            end
            local plan = done(sweep({ older = 7 * 86400 }, true))
            assert.same({ "fly.app.destroy" }, kinds(plan))
            on.dropped = {} -- this hook knows of no plan
            local record = done(sweep { older = 7 * 86400 })
            assert.same({ "shop-pr-12" }, record.value)
            assert.same({ "shop-pr-12" }, on.dropped)
            assert.same({ "shop", "shop-pr-1", "shop-pr-2", "shop-pr-7" }, on.names())
            assert.matches("have no dgrun mark: shop%-pr%-1 and shop%-pr%-2",
                record.notes[1].text)
            assert.same({}, done(sweep { older = 7 * 86400 }).value)
            assert.same({ "shop-pr-7" }, done(sweep { open = "none" }).value)
            assert.same({ "shop", "shop-pr-1", "shop-pr-2" }, on.names())
            refused(sweep {}, "input.missing")
        end)
    end)

    it("of which one cannot be destroyed: the others are", function()
        with(function(on)
            for pr = 1, 3 do
                done(on.create(pr))
            end
            local record = on.execute(function()
                return review.sweep { open = "9", database = function(app)
                    return { drop = function()
                        assert(app ~= "shop-pr-2", "its database is in use")
                    end }
                end }
            end)
            local e = refused(record, "review.not_swept")
            assert.matches("1 review app could not be destroyed\n  shop-pr-2: ", e.msg, 1, true)
            assert.matches("its database is in use", e.msg)
            assert.same({ "shop", "shop-pr-2" }, on.names())
        end)
    end)

    it("on which a run is at work are left", function()
        with(function(on)
            done(on.create(1))
            local record = on.execute(function()
                -- As a deploy of it, in another process.
                local tickets = require "dgrun.run.tickets"
                local store = require("dgrun.run.store").current()
                tickets.draw(store, { name = "shop-pr-1", run = "other", reason = "x" })
                return review.sweep { open = "none" }
            end)
            assert.same({}, done(record).value)
            assert.same({ "shop", "shop-pr-1" }, on.names())
        end)
    end)
end)
