-- What clients of Fly have to cope with, and so the local Fly does too.
local fs = require "host.fs"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local time = require "host.time"
local world = require "support.sandbox"

local image = "registry.fly.io/web:1"

describe("as Fly, the local Fly", function()
    it("keeps the version at a start and stop", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.web(image)
            local path = "/v1/apps/web/machines/" .. machine.id
            fly.wait(machine.id, "started")
            for call, state in pairs { stop = "stopped", start = "started" } do
                fly.call("POST", path .. "/" .. call)
                assert.equal(machine.instance_id, fly.wait(machine.id, state).instance_id)
            end
        end)
    end)

    it("waits for what comes after an event", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.web(image)
            local path = ("/v1/apps/web/machines/%s/wait?timeout=1&state=started"):format(
                machine.id)
            local _, reached = fly.call("GET", path)
            assert.equal(fly.get(machine.id).events[1].id, reached.event_id)
            assert.equal(machine.instance_id, reached.version)
            assert.equal(408, (fly.call("GET", path .. "&from_event_id=" .. reached.event_id)))
            assert.equal(200, (fly.call("GET", path .. "&version=" .. reached.version)))
            assert.equal(408, (fly.call("GET", path .. "&version=01OLD")))
        end)
    end)

    it("keeps a wait open until the state is reached", function()
        world.run(function(fly)
            fly.register(image, { seconds = 0.3 })
            local machine = fly.create { config = { image = image, restart = { policy = "no" } } }
            local began = time.now()
            fly.wait(machine.id, "stopped")
            assert.is_true(time.now() - began >= 0.25)
        end)
    end)

    it("says which events there are, the newest first, so many as asked", function()
        world.run(function(fly)
            fly.register(image)
            local machine = fly.web(image)
            fly.wait(machine.id, "started")
            local path = "/v1/apps/web/machines/" .. machine.id .. "/events"
            local _, events = fly.call("GET", path)
            assert.same({ "start", "launch" }, { events[1].type, events[2].type })
            assert.equal(1, #select(2, fly.call("GET", path .. "?limit=1")))
            assert.equal(400, (fly.call("GET", path .. "?limit=51")))
        end)
    end)

    it("shows a machine new secrets at its next version only", function()
        world.run(function(fly)
            local folder = fly.dir / "source"
            assert(fs.mkdir(folder))
            assert(fs.write(folder / "Dockerfile", 'FROM debian\nCMD ["sleep", "60"]\n'))
            local _, built = fly.call("POST", "/sandbox/v1/builds",
                { app = "web", label = "real", dir = folder })
            fly.call("POST", "/v1/apps/web/secrets/A", { value = "one" })
            local machine = fly.create { config = { image = built.image },
                min_secrets_version = 1 }
            fly.wait(machine.id, "started")
            local path = "/v1/apps/web/machines/" .. machine.id
            local function seen()
                return select(2, fly.call("POST", path .. "/exec",
                    { command = { "sh", "-c", "printf %s $A" } })).stdout
            end
            assert.equal("one", seen())
            fly.call("POST", "/v1/apps/web/secrets/A", { value = "two" })
            fly.call("POST", path .. "/restart")
            fly.wait(machine.id, "started")
            assert.equal("one", seen())
            fly.call("POST", path, { config = { image = built.image }, min_secrets_version = 2 })
            fly.wait(machine.id, "started")
            assert.equal("two", seen())
        end)
    end)
end)

local server = [[
local dir = ...
require("dgrun.run").leave()
local fly = require("sandbox").start { dir = dir, token = "fo1_test", apps = { "web" },
    pace = 0.01 }
require("host.log").out(fly.url .. "\n")
require("host.log").flush()
while require("host.time").sleep(60) do end
]]

describe("a sandbox that is killed", function()
    it("has lost nothing that it answered", function()
        local dir = assert(fs.temp_dir("killed"))
        assert(fs.write(dir / "server.lua", server))
        local child = assert(proc.spawn {
            argv = { os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe", dir / "server.lua",
                dir / "state" },
        })
        local url = child:read().line:match("http%S+")
        local function call(method, path, value)
            local answer = assert(require("host.http").request {
                url = url .. path, method = method, body = value and json.encode(value),
                headers = { Authorization = "Bearer fo1_test" },
            })
            return answer.body ~= "" and json.decode(answer.body) or {}
        end
        call("POST", "/sandbox/v1/images", { ref = image })
        local machine = call("POST", "/v1/apps/web/machines",
            { config = { image = image, schedule = "hourly" }, skip_launch = true })
        local volume = call("POST", "/v1/apps/web/volumes", { name = "data" })
        call("POST", "/sandbox/v1/clock", { advance = 86400 })
        call("POST", "/v1/apps/web/secrets/A", { value = "x" })
        child:kill("KILL")
        child:wait()

        local again = require("sandbox").start { dir = dir / "state", token = "fo1_test" }
        url = again.url
        assert.equal(machine.id, call("GET", "/v1/apps/web/machines/" .. machine.id).id)
        assert.equal(volume.id, call("GET", "/v1/apps/web/volumes")[1].id)
        assert.equal(86400, call("GET", "/sandbox/v1/clock").offset)
        assert.equal("A", call("GET", "/v1/apps/web/secrets").secrets[1].name)
        again.close()
        fs.remove(dir, { recursive = true })
    end)
end)
