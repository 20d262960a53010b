local api = require "dgrun.fly.api"
local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local json = require "dgrun.core.json"
local log = require "host.log"
local machines = require "dgrun.fly.machines"
local retry = require "dgrun.fly.retry"
local time = require "host.time"
local wire = require "support.wire"

local function always(reply)
    return function() return reply end
end

describe("tokens", function()
    it("are masked in the order in which they are sent", function()
        local token = "fo1_of_a_user,fm2_first_macaroon,fo1_of_another,fm2_second_macaroon"
        wire.with(token, always { body = "{}" }, function(asked)
            api.machines("GET", "/v1/apps/x")
            api.uiex("GET", "/api/v1/releases/all_current")
            for _, request in ipairs(asked) do
                local authorization = request.headers.authorization
                assert.matches("fm2_first_macaroon,fm2_second_macaroon", authorization)
                assert.is_nil(log.clean(authorization):find "f[mo][12]_")
                assert.equal("***", log.clean "fm2_second_macaroon")
            end
        end)
    end)

    for token, expected in pairs {
        ["fo1_abc"] = { "Bearer fo1_abc", "Bearer fo1_abc", "Bearer fo1_abc" },
        ["Bearer fo1_abc"] = { "Bearer fo1_abc", "Bearer fo1_abc", "Bearer fo1_abc" },
        ["FlyV1 fm2_a,fm2_b"] = { "FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b",
            "Bearer fm2_a,fm2_b" },
        ["bearer FlyV1 fo1_u, fm1r_a ,fm1a_b"] = { "FlyV1 fm1r_a,fm1a_b",
            "FlyV1 fm1r_a,fm1a_b,fo1_u", "Bearer fm1r_a,fm1a_b,fo1_u" },
    } do
        it("are sent as each service wants them: " .. token, function()
            wire.with(token, always { body = '{"data":{}}' }, function(asked)
                api.machines("GET", "/v1/apps/x")
                api.graphql "{ viewer { __typename } }"
                api.uiex("GET", "/api/v1/releases/all_current")
                for i, value in ipairs(expected) do
                    assert.equal(value, asked[i].headers.authorization)
                end
            end)
        end)
    end

    it("go to the addresses that are set, as flyctl builds them", function()
        wire.with("fo1_a", always { body = '{"data":{}}' }, function(asked)
            api.machines("GET", "/v1/apps/x")
            api.graphql "{ viewer { __typename } }"
            api.rest("GET", "/api/v1/apps/x/logs", { query = { next_token = "" } })
            assert.equal("/v1/apps/x", asked[1].path)
            assert.equal("/kept/graphql", asked[2].path)
            assert.equal("/kept/api/v1/apps/x/logs", asked[3].path)
        end)
    end)
end)

describe("calls", function()
    it("have addresses that no name can change", function()
        wire.with("fo1_a", always { body = "{}" }, function(asked)
            machines.get("a?b=c#d", "../../x y")
            -- As the server decodes it.
            assert.equal("/v1/apps/a?b=c#d/machines/../../x y", asked[1].path)
            for _, name in ipairs { "", ".", ".." } do
                local ok, e = pcall(machines.get, "a", name)
                assert.is_false(ok)
                assert.equal("input.invalid", e.code)
            end
            assert.equal(1, #asked)
        end)
    end)

    it("keep the cookies of the session", function()
        wire.with("fo1_a", always { headers = { ["Set-Cookie"] = "fly=abc; Path=/" } },
            function(asked)
                api.machines("GET", "/v1/apps/x")
                api.machines("GET", "/v1/apps/x")
                assert.is_nil(asked[1].headers.cookie)
                assert.equal("fly=abc", asked[2].headers.cookie)
            end)
    end)

    it("have the request's id in their errors", function()
        local headers = { ["fly-request-id"] = "01REQ-ams" }
        wire.with("fo1_a", always { status = 422, headers = headers,
            body = '{"error":"no\\u001b[31m"}' }, function()
            local _, e = pcall(api.machines, "POST", "/v1/apps/x/machines/m1", { json = {} })
            assert.equal("fly.invalid", e.code)
            assert.equal("01REQ-ams", e.request_id)
            assert.equal("m1", e.machine)
            assert.matches("request 01REQ-ams", e.msg, 1, true)
            assert.is_nil(e.msg:find("\27", 1, true))
        end)
        wire.with("fo1_a", always { headers = headers,
            body = '{"errors":[{"message":"Could not find App"}]}' }, function()
            local _, e = pcall(api.graphql, "{ viewer { __typename } }")
            assert.equal("fly.not_found", e.code)
            assert.equal("01REQ-ams", e.request_id)
        end)
    end)

    it("say how to make an app that Fly does not find", function()
        local reply = always { status = 404, body = [[{"error":"Could not find App \"web-1\""}]] }
        wire.with("fo1_a", reply, function()
            local _, e = pcall(api.machines, "GET", "/v1/apps/web-1/machines")
            assert.equal("fly.not_found", e.code)
            assert.matches("fly apps create web-1.", e.hint, 1, true)
        end)
        wire.with("fo1_a", always { status = 404, body = '{"error":"machine not found"}' },
            function()
                local _, e = pcall(api.machines, "GET", "/v1/apps/web-1/machines/m1")
                assert.is_nil(e.hint)
            end)
    end)

    ---How often a call is made, for each kind of bad answer.
    local function tries(method, reply, opts)
        local count
        wire.with("fo1_a", always(reply), function(asked)
            pcall(api.machines, method, "/v1/apps/x", opts)
            count = #asked
        end)
        return count
    end

    it("are made again when twice equals once", function()
        local delays = retry.delays
        retry.delays = { 0.001, 0.001 }
        for _, reply in ipairs { { status = 500 }, { status = 502 }, { status = 503 },
            { status = 504 }, { status = 408 }, { body = "{cut" }, "reset" } do
            local name = type(reply) == "table" and json.encode(reply) or reply
            assert.equal(3, tries("GET", reply), "GET " .. name)
            assert.equal(3, tries("DELETE", reply), "DELETE " .. name)
            assert.equal(3, tries("POST", reply, { repeatable = true }), "POST " .. name)
            local reached = type(reply) == "table"
                and (reply.status == 502 or reply.status == 503)
            assert.equal(reached and 3 or 1, tries("POST", reply), "POST " .. name)
            assert.equal(1, tries("POST", reply, { once = true }), "once " .. name)
        end
        for _, status in ipairs { 400, 401, 403, 404, 409, 412, 422 } do
            assert.equal(1, tries("GET", { status = status }))
        end
        assert.equal(1, tries("GET", { status = 408 }, { ok = { [408] = true } }))
        retry.delays = delays
    end)

    it("wait as long as Fly says when there were too many", function()
        local started = time.now()
        wire.with("fo1_a", function(_, count)
            return count == 1 and { status = 429, headers = { ["Retry-After"] = "1" } } or {}
        end, function(asked)
            api.machines("POST", "/v1/apps/x", { once = true })
            assert.equal(2, #asked)
            assert.is_true(time.now() - started >= 1)
        end)
    end)
end)

describe("machines", function()
    it("are read with nulls, and on hosts that are gone", function()
        local list = { { id = "m1", state = "started", config = json.null, host_status = "unknown",
            incomplete_config = { metadata = { fly_platform_version = "v2" }, env = json.null },
            image_ref = json.null, events = json.null, checks = json.null } }
        wire.with("fo1_a", always { body = json.encode(json.array(list)) }, function()
            local machine = machines.list("web")[1]
            assert.is_true(machines.is_managed(machine))
            assert.equal("app", machines.group(machine))
            assert.is_nil(machines.last_exit(machine))
            assert.is_false(machines.is_cron(machine))
            assert.equal("unknown", require("dgrun.core.image_ref").of_machine(machine))
        end)
    end)

    it("are updated when the update before has ended", function()
        fly_run.with(function(fly)
            fly.register "registry.fly.io/web:1"
            local machine = fly.web "registry.fly.io/web:1"
            fly.wait(machine.id, "started")
            fly.call("POST", "/v1/apps/web/machines/" .. machine.id, { config = machine.config })
            assert.equal("replacing", fly.get(machine.id).state)
            local config = fly.get(machine.id).config
            config.env = { A = "1" }
            local updated = machines.update("web", machine.id, { config = config })
            assert.same({ A = "1" }, updated.config.env)
        end, { pace = 0.1 })
    end)

    it("tell errors with a null in them", function()
        wire.with("fo1_a", always { status = 422, body = '{"message":null,"error":"why"}' },
            function()
                local _, e = pcall(machines.list, "web")
                assert.equal("why", e.reason)
            end)
    end)
end)

local toml = 'app = "web"\nprimary_region = "ewr"\n[http_service]\ninternal_port = 8080\n'

describe("a deploy", function()
    it("keeps within Fly's rate limits", function()
        fly_run.with(function(fly, execute)
            health.smoke_seconds = 0.1
            assert(fs.write(fly.dir / "fly.toml", toml))
            local made = fly.register "registry.fly.io/web:a"
            -- As on the real Fly: calls are paced.
            api.use { token = fly.sandbox.token, machines_url = fly.sandbox.url,
                api_url = fly.sandbox.url, uiex_url = fly.sandbox.url, pace = 0.1 }
            local record = execute(function()
                return deploy { app = "web", config = fly.dir / "fly.toml",
                    image = "registry.fly.io/web:a@" .. made.digest }
            end)
            assert.equal("done", record.status, tostring(record.error))
            local _, seen = fly.call("GET", "/sandbox/v1/requests")
            for _, request in ipairs(seen.requests) do
                assert.is_true(request.status ~= 429, request.method .. " " .. request.path)
            end
        end, { rate_limit = true })
    end)

    it("finds a machine that the list does not show yet", function()
        fly_run.with(function(fly)
            fly.register "registry.fly.io/web:a"
            fly.call("POST", "/sandbox/v1/faults", { method = "POST", path = "/machines$",
                when = "after", reset = true })
            fly.call("POST", "/sandbox/v1/faults", { kind = "stale_list", seconds = 0.05 })
            local made = machines.create("web", { config = { image = "registry.fly.io/web:a" } })
            local _, all = fly.call("GET", "/v1/apps/web/machines")
            assert.equal(1, #all)
            assert.equal(made.id, all[1].id)
        end)
    end)

    it("tells all about a machine that fails", function()
        fly_run.with(function(fly, execute)
            health.smoke_seconds = 0.1
            assert(fs.write(fly.dir / "fly.toml", toml .. "[[http_service.checks]]\npath = '/'\n"))
            fly.register "registry.fly.io/web:a"
            fly.register("registry.fly.io/web:sick", { health = "critical",
                listen = "127.0.0.1:8080", log = { "listening on 127.0.0.1" } })
            fly.register("registry.fly.io/web:crash", { crash = true, oom = true })
            local function go(image)
                return execute(function()
                    return deploy { app = "web", config = fly.dir / "fly.toml", ha = false,
                        image = "registry.fly.io/web:" .. image, wait_timeout = 0.5 }
                end)
            end
            assert.equal("done", go("a").status)
            local function details(image, code)
                local e = go(image).error
                assert.equal(code, e.code)
                local found = {}
                for _, detail in ipairs(e.details) do
                    found[detail.title] = table.concat(detail.lines, "\n")
                    assert.is_true(#detail.title <= 6)
                end
                return found, e
            end
            local sick = details("sick", "fly.unhealthy")
            assert.matches("of group app in ewr: started", sick.fly)
            assert.matches("start, started", sick.events)
            assert.matches("critical: 503", sick.checks)
            assert.matches("nothing listens on 0.0.0.0:8080", sick.listen, 1, true)
            assert.matches("127.0.0.1:8080", sick.listen, 1, true)
            assert.matches("listening on 127.0.0.1", sick.log, 1, true)
            assert.matches("web:sick", sick.change, 1, true)
            local crash, e = details("crash", "fly.crashed")
            assert.matches("exit, stopped, code 1, out of memory", crash.events)
            assert.is_true(e.oom_killed)
            assert.equal(1, e.exit_code)
        end)
    end)
end)
