-- Anything may be sent to the local Fly: it answers with an error, and goes on.
local http = require "host.http"
local json = require "dgrun.core.json"
local routes = require "sandbox.routes"
local world = require "support.sandbox"

local image = "registry.fly.io/web:1"
local MEGABYTE = 1024 * 1024

local function request(fly, method, path, body)
    return http.request { url = fly.sandbox.url .. path, method = method, body = body,
        headers = { Authorization = "Bearer fo1_test" }, timeout = 30 }
end

---Proper JSON in UTF-8, with a message where it is an error.
local function check_answer(answer, what)
    assert.is_not_nil(answer, what)
    assert.is_true(answer.status < 500, what .. ": " .. answer.status .. " " .. answer.body)
    if answer.body ~= "" then
        local ok, body = pcall(json.decode, answer.body)
        assert.is_true(ok, what .. ": " .. answer.body)
        assert.is_true(answer.status < 400 or type(body.error) == "string", what)
    end
    assert.is_true(answer.body ~= "" or answer.status < 400 or what:find("^HEAD") ~= nil, what)
end

local bodies = {
    "{", "[]", "[1]", "null", "5", '"text"', "{}", '{"a":', "\255\254", '{"name":"\192\175"}',
    '{"config":null}', '{"config":[]}', '{"config":5}', '{"config":{"image":[]}}',
    '{"config":{"image":"registry.fly.io/web:1","guest":{"cpus":1e400}}}',
    '{"config":{"image":"registry.fly.io/web:1","guest":{"cpus":NaN}}}',
    '{"config":{"image":"registry.fly.io/web:1","guest":{"memory_mb":-1}}}',
    '{"config":{"image":"registry.fly.io/web:1","env":[1,2]}}',
    '{"config":{"image":"registry.fly.io/web:1","services":[{"checks":[null]}]}}',
    '{"config":{"image":"registry.fly.io/web:1","restart":{"max_retries":-1}}}',
    '{"config":{"image":"registry.fly.io/web:1","mounts":[{}]},"skip_launch":true}',
    '{"config":{"image":"registry.fly.io/web:1","init":{"cmd":{"a":1}}}}',
    '{"config":{"image":"registry.fly.io/web:1","dns":{"options":[[]]}},"skip_launch":true}',
    '{"name":{"a":1},"org_slug":[]}', '{"name":"\\u0000","org_slug":"personal"}',
    '{"value":5}', '{"value":null}', '{"values":[1]}', '{"values":{"A":5}}', '{"values":{"":""}}',
    '{"values":5}', '{"metadata":[1]}', '{"metadata":{"a":{}}}', '{"metadata":5}',
    '{"signal":{}}', '{"signal":9007199254740993}', '{"timeout":[],"signal":"SIGTERM"}',
    '{"ttl":"x","description":5}', '{"ttl":-5}', '{"ttl":Infinity}', '{"ttl":1e30}',
    '{"command":"sh","timeout":-1}', '{"command":[[]]}', '{"cmd":{}}', '{"size_gb":1e10}',
    '{"size_gb":2.5,"name":"data"}', '{"name":"data","region":5}', '{"type":[]}', '{"expiry":5}',
    '{"expiry":"99999999999999999h"}', '{"org_slug":5}', '{"org_slug":"personal","count":-1}',
    '{"status":[]}', '{"app_name":[],"status":{}}', '{"app_name":"web","build_id":{}}',
    '{"app_name":"web","image":"x","definition":[],"strategy":{}}', '{"advance":"1"}',
    '{"ref":"a","behaviour":[]}', '{"ref":{},"behaviour":{"log":"x"}}',
    '{"ref":"registry.fly.io/web:9","digest":"a\\nb"}', '{"app":{},"label":[]}',
    '{"app":"web","label":"x","dir":"/no/such/folder"}', '{"log":[{}]}', '{"log":{"a":1}}',
    ("["):rep(5000), ('{"a":'):rep(60) .. "1" .. ("}"):rep(60),
    '{"a":' .. ("["):rep(100) .. ("]"):rep(100) .. "}",
    '{"config":{"image":"' .. ("x"):rep(100000) .. '"}}', ('{"%s":1}'):format(("k"):rep(70000)),
}

local values = { "web", "%ff", "..%2f..", "%00", "%", "a%20b", ("x"):rep(300), "%e2%82", "%zz" }

---The address of a route with the real app and machine, or with a bad value in one place.
local function address(pattern, known, place, value)
    local at = 0
    return (pattern:gsub("{(%a+)}", function(name)
        at = at + 1
        if at == place then
            return value
        end
        return known[name] or "none"
    end))
end

local queries = { "?limit=abc&timeout=x&state=%ff&ttl=x&order=%00", "?limit=-1&state=a&state=b",
    "?limit=99999999999999999999&timeout=1.5&ttl=1e9&updated_after=%ff", "?%&=&&a=%zz",
    "?next_token=nan&summary&include_deleted=maybe&unknown=1" }

describe("bad input", function()
    it("of any body gets an error from every route", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.create { config = { image = image }, skip_launch = true }
            local known = { app = "web", id = machine.id, name = "A", key = "k", slug = "personal" }
            local count = 0
            for _, route in ipairs(routes.all()) do
                if route[1] ~= "GET" and route[1] ~= "HEAD" and route[1] ~= "DELETE" then
                    for _, body in ipairs(bodies) do
                        local path = address(route[2], known)
                        check_answer(request(fly, route[1], path, body),
                            ("%s %s %s"):format(route[1], path, body:sub(1, 200)))
                        count = count + 1
                    end
                end
            end
            assert.is_true(count > 1000)
            fly.call("DELETE", "/sandbox/v1/faults")
            fly.reopen()
            assert.equal(200, (fly.call("GET", "/v1/apps/web/machines/" .. machine.id)))
        end)
    end)

    it("in addresses and queries gets one too", function()
        world.run(function(fly)
            for _, route in ipairs(routes.all()) do
                local path = address(route[2], { app = "web" })
                local _, places = route[2]:gsub("{", "")
                for place = 1, places do
                    for _, value in ipairs(values) do
                        local bad = address(route[2], { app = "web" }, place, value)
                        check_answer(request(fly, route[1], bad), route[1] .. " " .. bad)
                    end
                end
                if route[1] ~= "DELETE" or places > 1 then
                    for _, query in ipairs(queries) do
                        check_answer(request(fly, route[1], path .. query),
                            route[1] .. " " .. path .. query)
                    end
                end
                fly.call("POST", "/v1/apps", { name = "web", org_slug = "personal" })
            end
        end)
    end)

    it("in queries of what is there is named", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.create { config = { image = image }, skip_launch = true }
            fly.wait(machine.id, "stopped")
            local own = "/v1/apps/web/machines/" .. machine.id
            for _, path in ipairs { own, own .. "/wait", own .. "/events", own .. "/lease",
                own .. "/ps", own .. "/versions", "/v1/apps/web/machines", "/v1/apps/web/volumes",
                "/v1/orgs/personal/machines", "/api/v1/apps/web/releases", "/api/v1/apps/web/logs",
            } do
                for _, query in ipairs(queries) do
                    query = query .. "&state=settled"
                    check_answer(request(fly, "GET", path .. query), "GET " .. path .. query)
                end
            end
            for _, timeout in ipairs { "61", "0", "-1", "1.5", "x" } do
                assert.equal(400, (fly.call("GET", own .. "/wait?timeout=" .. timeout)))
            end
        end)
    end)

    it("of an unknown method is refused", function()
        world.run(function(fly)
            for _, method in ipairs { "BREW", "TRACE", "OPTIONS", "PATCH", "PUT" } do
                local answer = request(fly, method, "/v1/apps/web/machines", "{}")
                assert.equal(405, answer.status)
                assert.equal("method not allowed", json.decode(answer.body).error)
            end
            assert.equal(404, request(fly, "BREW", "/nowhere").status)
        end)
    end)

    it("that is too large is refused with 413", function()
        world.run(function(fly)
            local answer = request(fly, "POST", "/v1/apps/web/machines",
                '{"config":{"image":"' .. ("x"):rep(10 * MEGABYTE) .. '"}}')
            assert.equal(413, answer.status)
            assert.is_string(json.decode(answer.body).error)
            assert.equal(200, (fly.call("GET", "/v1/apps/web")))
        end)
    end)
end)

describe("what a client sent", function()
    local input = require "sandbox.input"

    it("is one value where it is given several times", function()
        assert.same({ cookie = "a", host = "x" },
            input.headers { cookie = { "a", "b" }, host = "x" })
        assert.same({ state = "a,b", limit = "2" },
            input.query { state = { "a", "b" }, limit = { "1", "2" } })
    end)

    it("is a duration as Go writes it", function()
        for text, seconds in pairs { ["1m30s"] = 90, ["500ms"] = 0.5, ["0"] = 0, ["1.5h"] = 5400,
            ["0s"] = 0 } do
            assert.equal(seconds, input.duration(text))
        end
        assert.equal(2, input.duration(2e9))
        for _, text in ipairs { "", "5", "s", "5 s", "-1s", "1y", "1m 30s" } do
            assert.is_nil(input.duration(text))
        end
        assert.is_nil(input.duration {})
    end)

    it("is UTF-8, or made so", function()
        assert.equal("é€𝄞a", input.clean "é€𝄞a")
        assert.equal("a??b", input.clean "a\192\175b")
        assert.equal("???", input.clean "\237\160\128")
        assert.equal("??", input.clean "\226\130")
    end)
end)
