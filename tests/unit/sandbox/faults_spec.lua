local http = require "host.http"
local task = require "dgrun.core.task"
local time = require "host.time"
local until_true = require("support.wait").until_true
local world = require "support.sandbox"

local image = "registry.fly.io/web:1"

describe("faults", function()
    it("come before or after what is asked is done", function()
        world.run(function(fly)
            fly.register(image)
            fly.fault { method = "POST", path = "/machines$", status = 500, when = "before" }
            fly.fault { method = "POST", path = "/machines$", status = 500, when = "after" }
            local body = { config = { image = image } }
            assert.equal(500, (fly.call("POST", "/v1/apps/web/machines", body)))
            assert.equal(0, #select(2, fly.call("GET", "/v1/apps/web/machines")))
            assert.equal(500, (fly.call("POST", "/v1/apps/web/machines", body)))
            assert.equal(1, #select(2, fly.call("GET", "/v1/apps/web/machines")))
        end)
    end)

    it("are any status with Retry-After, a reset, a delay", function()
        world.run(function(fly)
            fly.fault { path = "/v1/apps/web$", status = 429, retry_after = 3 }
            local status, _, headers = fly.call("GET", "/v1/apps/web")
            assert.same({ 429, "3" }, { status, headers["retry-after"] })
            -- A write: libcurl sends what reads once more by itself.
            local function write()
                return fly.call("POST", "/v1/apps/web/secrets", { values = { A = "1" } })
            end
            fly.fault { path = "/secrets$", reset = true, after = 1, times = 2 }
            assert.equal(200, (write()))
            for _ = 1, 2 do
                assert.equal("http.reset", select(2, write()).code)
            end
            fly.fault { path = "/v1/apps/web$", seconds = 0.2 }
            local began = time.now()
            assert.equal(200, (fly.call("GET", "/v1/apps/web")))
            assert.is_true(time.now() - began >= 0.2)
        end)
    end)

    it("are half an answer, or one that is no JSON", function()
        world.run(function(fly)
            local function get()
                return http.request { url = fly.sandbox.url .. "/v1/apps/web",
                    headers = { Authorization = "Bearer fo1_test" } }
            end
            fly.fault { path = "/v1/apps/web$", cut = true, when = "after" }
            local answer, e = get()
            assert.is_nil(answer)
            assert.matches("^http%.", e.code)
            fly.fault { path = "/v1/apps/web$", invalid = true, when = "after" }
            answer = get()
            assert.equal(200, answer.status)
            assert.is_false(pcall(require("dgrun.core.json").decode, answer.body))
            assert.equal(200, get().status)
        end)
    end)

    it("come by chance, the same for the same seed", function()
        world.run(function(fly)
            local function run()
                fly.fault { rate = 0.3, seed = 7, status = 503 }
                local seen = {}
                for i = 1, 40 do
                    seen[i] = fly.call("GET", "/v1/apps/web")
                end
                assert.equal(200, (fly.call("DELETE", "/sandbox/v1/faults")))
                return seen
            end
            local first = run()
            assert.same(first, run())
            local failed = 0
            for _, status in ipairs(first) do
                failed = failed + (status == 503 and 1 or 0)
            end
            assert.is_true(failed > 4 and failed < 20)
        end)
    end)

    it("by chance are of many kinds", function()
        world.run(function(fly)
            fly.fault { rate = 1, seed = 3 }
            local kinds = {}
            for _ = 1, 40 do
                local ok, status = pcall(fly.call, "GET", "/v1/apps/web")
                kinds[ok and tostring(status) or "invalid"] = true
            end
            for _, kind in ipairs { "500", "502", "503", "429", "nil", "invalid", "200" } do
                assert.is_true(kinds[kind], kind)
            end
        end)
    end)

    it("are refused when they are not understood", function()
        world.run(function(fly)
            for _, fault in ipairs {
                { metod = "GET" }, { status = 42 }, { when = "later" }, { rate = 2 },
                { path = "%" }, { seconds = -1 }, { kind = "odd" }, { times = "1" },
            } do
                assert.equal(422, (fly.call("POST", "/sandbox/v1/faults", fault)))
            end
        end)
    end)

    it("are seen in the list of requests", function()
        world.run(function(fly)
            fly.fault { path = "/v1/apps/web/secrets$", reset = true }
            fly.call("POST", "/v1/apps/web/secrets", { values = { A = "1" } })
            fly.call("GET", "/v1/apps/none")
            local _, seen = fly.call("GET", "/sandbox/v1/requests")
            local last = #seen.requests
            assert.same({ method = "POST", path = "/v1/apps/web/secrets", status = "reset" },
                seen.requests[last - 1])
            local none = seen.requests[last]
            assert.same({ "GET", "/v1/apps/none", 404 }, { none.method, none.path, none.status })
            assert.is_string(none.session) -- one client's calls can be told from another's
        end)
    end)
end)

describe("what Fly does under load", function()
    it("limits the rate of each action of each machine", function()
        world.run(function(fly)
            fly.register(image)
            local first, second = fly.web(image), fly.web(image)
            local function cordon(machine)
                return fly.call("POST", ("/v1/apps/web/machines/%s/cordon"):format(machine.id))
            end
            for _ = 1, 3 do
                assert.equal(200, (cordon(first)))
            end
            -- Another is let through each second.
            local headers = until_true(function()
                local status, _, found = cordon(first)
                return status == 429 and found
            end)
            assert.equal("1", headers["retry-after"])
            assert.equal(200, (cordon(second)))
            local function get()
                return (fly.call("GET", "/v1/apps/web/machines/" .. first.id))
            end
            for _ = 1, 10 do
                assert.equal(200, get())
            end
            -- More at once than can be let through while they last.
            local all = {}
            for i = 1, 60 do
                all[i] = get
            end
            assert.is_not_nil(table.concat(task.all(all), " "):find "429")
            fly.advance(2)
            assert.equal(200, (cordon(first)))
            assert.equal(200, get())
        end, { rate_limit = true })
    end)

    it("answers late", function()
        world.run(function(fly)
            local began = time.now()
            assert.equal(200, (fly.call("GET", "/v1/apps/web")))
            assert.is_true(time.now() - began >= 0.1)
        end, { latency = 0.1 })
    end)

    it("may miss a new machine in the list of another session", function()
        world.run(function(fly)
            fly.register(image)
            fly.fault { kind = "stale_list", seconds = 30 }
            local _, made, headers = fly.call("POST", "/v1/apps/web/machines",
                { config = { image = image } })
            local own = headers["set-cookie"]:match("^[^;]+")
            local function list(cookie)
                return select(2, fly.call("GET", "/v1/apps/web/machines", nil, { cookie = cookie }))
            end
            assert.same({}, list "fly-session=another")
            assert.equal(made.id, list(own)[1].id)
            fly.advance(31)
            assert.equal(1, #list "fly-session=another")
        end)
    end)

    it("shows failing checks before the grace period is over", function()
        world.run(function(fly)
            fly.register(image, { grace = true })
            local machine = fly.create { config = { image = image, checks = {
                health = { type = "http", port = 80, path = "/", grace_period = "300ms" },
            } } }
            assert.same({}, machine.checks)
            local seen = {}
            fly.until_true(function()
                local check = fly.get(machine.id).checks[1]
                seen[check and check.status or "none"] = true
                return check and check.status == "passing"
            end)
            assert.same({ none = true, critical = true, passing = true }, seen)
        end)
    end)
end)
