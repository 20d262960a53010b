-- How long a local Fly in a process of its own lives. The process: tests/e2e/background_spec.lua.
local clock = require "sandbox.clock"
local fs = require "host.fs"
local http = require "host.http"
local sandbox = require "sandbox"
local task = require "dgrun.core.task"

local function run(body)
    local dir = fs.temp_dir "lifetime"
    task.scope(function()
        local fly = sandbox.start { dir = dir, apps = { "web" }, token = "fo1_test",
            serve = "background" }
        task.defer(function()
            fly.close()
            fs.remove(dir, { recursive = true })
        end)
        body(fly, dir)
    end)
end

local function ask(fly, path, body)
    local answer = assert(http.request { url = fly.url .. path, method = body and "POST" or "GET",
        body = body, headers = { Authorization = "Bearer fo1_test" } })
    return answer.status
end

describe("a local Fly in a process of its own", function()
    it("ends when no one has asked it anything for a while", function()
        run(function(fly)
            local reason
            local waiting = task.spawn(function() reason = fly.wait(900) end)
            for _ = 1, 3 do
                clock.sleep(800)
                assert.equal(200, ask(fly, "/v1/apps/web"))
                assert.is_nil(reason)
            end
            clock.sleep(905)
            assert.equal("idle", reason)
            waiting:join()
        end)
    end)

    it("does not end while it answers", function()
        run(function(fly)
            assert.equal(200, ask(fly, "/sandbox/v1/faults",
                '{"method":"GET","path":"/v1/apps/web$","seconds":30}'))
            local reason
            task.spawn(function() reason = fly.wait(10) end)
            assert.equal(200, ask(fly, "/v1/apps/web"))
            assert.is_nil(reason)
            clock.sleep(12)
            assert.equal("idle", reason)
        end)
    end)

    it("ends when it is told to, or its folder is no longer its own", function()
        run(function(fly)
            local waiting = task.spawn(function() return fly.wait() end)
            assert.equal(200, ask(fly, "/sandbox/v1/stop", "{}"))
            assert.equal("stop", select(2, waiting:join()))
        end)
        run(function(fly, dir)
            assert(fs.remove(dir / "address.json"))
            assert.equal("gone", fly.wait())
        end)
    end)

    it("creates the apps of its clients", function()
        run(function(fly)
            assert.equal(404, ask(fly, "/v1/apps/other"))
            assert.equal(200, ask(fly, "/sandbox/v1/apps", '{"names":["web","other"]}'))
            assert.equal(200, ask(fly, "/v1/apps/other"))
            assert.equal(422, ask(fly, "/sandbox/v1/apps", '{"names":[1]}'))
        end)
    end)
end)
