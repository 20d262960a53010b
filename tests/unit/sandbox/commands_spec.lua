local fs = require "host.fs"
local world = require "support.sandbox"

local image = "registry.fly.io/web:1"

local function started(fly, behaviour, config)
    fly.register(image, behaviour)
    local machine
    if config then
        config.image = image
        machine = fly.create { config = config }
    else
        machine = fly.web(image)
    end
    fly.wait(machine.id, "started")
    return machine, "/v1/apps/web/machines/" .. machine.id
end

local function exit_of(fly, id)
    for _, event in ipairs(fly.get(id).events) do
        if event.type == "exit" then
            return event.request.exit_event
        end
    end
end

describe("commands in a machine", function()
    it("answers as the image says, by the command, or with nothing", function()
        world.run(function(fly)
            local _, path = started(fly, { exec = { exit_code = 0, commands = {
                ["ls /data"] = { exit_code = 2, stderr = "no such folder" },
                ["sleep 9"] = { seconds = 9 },
            } } })
            local status, result = fly.call("POST", path .. "/exec", { command = { "true" } })
            assert.equal(200, status)
            assert.same({ exit_code = 0, exit_signal = 0, stdout = "", stderr = "" }, result)
            _, result = fly.call("POST", path .. "/exec", { cmd = "ls /data", timeout = 5 })
            assert.equal(2, result.exit_code)
            assert.equal("no such folder", result.stderr)
            assert.equal(408, (fly.call("POST", path .. "/exec",
                { command = { "sleep", "9" }, timeout = 1 })))
            for _, body in ipairs { {}, { command = {} }, { command = { 1 } }, { cmd = 5 },
                { command = { "true" }, timeout = "5" } } do
                assert.equal(400, (fly.call("POST", path .. "/exec", body)))
            end
            fly.call("POST", path .. "/stop")
            fly.call("GET", path .. "/wait?state=stopped&timeout=10")
            assert.equal(412, (fly.call("POST", path .. "/exec", { command = { "true" } })))
            assert.equal(412, (fly.call("GET", path .. "/ps")))
        end)
    end)

    it("runs them for real in an image that was built", function()
        world.run(function(fly)
            local folder = fly.dir / "source"
            assert(fs.mkdir(folder))
            assert(fs.write(folder / "Dockerfile",
                'FROM debian\nENV A=1\nCOPY . .\nCMD ["sleep", "60"]\n'))
            assert(fs.write(folder / "name.txt", "dgrun\n"))
            local _, built = fly.call("POST", "/sandbox/v1/builds",
                { app = "web", label = "real", dir = folder })
            local machine = fly.create { config = { image = built.image } }
            fly.wait(machine.id, "started")
            local path = "/v1/apps/web/machines/" .. machine.id
            local _, result = fly.call("POST", path .. "/exec",
                { command = { "sh", "-c", "cat name.txt; cat; echo $A >&2; exit 3" },
                    stdin = "typed" })
            assert.same({ exit_code = 3, exit_signal = 0, stdout = "dgrun\ntyped",
                stderr = "1\n" }, result)
            _, result = fly.call("POST", path .. "/exec", { command = { "/no/such" } })
            assert.equal(127, result.exit_code)
            assert.equal(408, (fly.call("POST", path .. "/exec",
                { command = { "sleep", "9" }, timeout = 1 })))
            fly.call("POST", path .. "/signal", { signal = "SIGKILL" })
            fly.until_true(function() return exit_of(fly, machine.id) end)
            assert.equal(9, exit_of(fly, machine.id).signal)
        end)
    end)

    it("lists what listens", function()
        world.run(function(fly)
            local machine, path = started(fly)
            local _, list = fly.call("GET", path .. "/ps?sort_by=pid&order=asc")
            assert.equal("[::]:8080", list[2].listen_sockets[1].address)
            assert.equal(400, (fly.call("GET", path .. "/ps?order=up")))
            assert.equal(200, (fly.call("POST", "/sandbox/v1/apps/web/machines/" .. machine.id
                .. "/behaviour", { listen = "127.0.0.1:8080" })))
            _, list = fly.call("GET", path .. "/ps")
            assert.equal("127.0.0.1:8080", list[2].listen_sockets[1].address)
        end)
    end)
end)

describe("signals", function()
    it("end the process, by name or number; the policy brings it back", function()
        world.run(function(fly)
            local machine, path = started(fly)
            for _, signal in ipairs { "SIGKILL", 9 } do
                assert.equal(200, (fly.call("POST", path .. "/signal", { signal = signal })))
                fly.until_true(function()
                    local exit = exit_of(fly, machine.id)
                    return exit and fly.get(machine.id).state == "started"
                end)
                local exit = exit_of(fly, machine.id)
                assert.same({ 137, 9, true, false },
                    { exit.exit_code, exit.signal, exit.restarting, exit.requested_stop })
            end
            for _, signal in ipairs { "SIGNOPE", "KILL", 99, -1, 1.5, true } do
                assert.equal(400, (fly.call("POST", path .. "/signal", { signal = signal })))
            end
            assert.equal(400, (fly.call("POST", path .. "/signal")))
        end)
    end)

    it("are ignored or end it well where an application handles them", function()
        world.run(function(fly)
            local machine, path = started(fly)
            fly.call("POST", path .. "/signal", { signal = "SIGHUP" })
            assert.equal("started", fly.get(machine.id).state)
            fly.call("POST", path .. "/signal", { signal = "SIGTERM" })
            assert.equal("stopped", fly.wait(machine.id, "stopped").state)
            assert.equal(0, exit_of(fly, machine.id).exit_code)
            assert.equal(412, (fly.call("POST", path .. "/signal", { signal = "SIGTERM" })))
        end)
    end)

    it("stop a machine as asked, and firmly when it takes too long", function()
        world.run(function(fly)
            local machine, path = started(fly, { stop_seconds = 20 })
            assert.equal(400, (fly.call("POST", path .. "/stop", { signal = "SIGSEGV" })))
            assert.equal(400, (fly.call("POST", path .. "/stop", { timeout = "5 minutes" })))
            assert.equal(400, (fly.call("POST", path .. "/stop", { timeout = "301s" })))
            assert.equal(200, (fly.call("POST", path .. "/stop",
                { id = machine.id, signal = "SIGTERM", timeout = "20ms" })))
            fly.wait(machine.id, "stopped")
            local exit = exit_of(fly, machine.id)
            assert.same({ 137, true }, { exit.exit_code, exit.requested_stop })
        end)
    end)

    it("restart by the query, and only what is started", function()
        world.run(function(fly)
            local machine, path = started(fly)
            local version = fly.get(machine.id).instance_id
            assert.equal(400, (fly.call("POST", path .. "/restart?signal=SIGNOPE")))
            assert.equal(400, (fly.call("POST", path .. "/restart?timeout=soon")))
            assert.equal(200, (fly.call("POST",
                path .. "/restart?timeout=10s&signal=SIGTERM&force_stop=false")))
            fly.wait(machine.id, "started")
            assert.equal(version, fly.get(machine.id).instance_id)
            fly.call("POST", path .. "/stop")
            fly.wait(machine.id, "stopped")
            assert.equal(412, (fly.call("POST", path .. "/restart")))
        end)
    end)
end)

describe("suspending", function()
    it("keeps a machine until it is started or stopped", function()
        world.run(function(fly)
            local machine, path = started(fly)
            assert.equal(200, (fly.call("POST", path .. "/suspend")))
            fly.wait(machine.id, "suspended")
            assert.equal(412, (fly.call("POST", path .. "/suspend")))
            assert.equal(200, (fly.call("POST", path .. "/start")))
            fly.wait(machine.id, "started")
            fly.call("POST", path .. "/suspend")
            fly.wait(machine.id, "suspended")
            fly.call("POST", path .. "/stop")
            assert.equal("stopped", fly.wait(machine.id, "stopped").state)
        end)
    end)
end)
