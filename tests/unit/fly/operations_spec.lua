local fly_run = require "support.fly_run"
local machines = require "dgrun.fly.operations"

local image = "registry.fly.io/web:a"

---One machine that is up, and runs or plans of a function.
local function with_machine(body)
    fly_run.with(function(fly, execute)
        fly.register(image)
        local machine = fly.web(image)
        fly.wait(machine.id, "started")
        local function go(verb, more, plan)
            local opts = { app = "web", id = machine.id }
            for name, value in pairs(more or {}) do
                opts[name] = value
            end
            return execute(function() return machines[verb](opts) end, plan)
        end
        body(go, machine.id, fly)
    end)
end

describe("machines by hand", function()
    it("are stopped, started, restarted, suspended", function()
        with_machine(function(go, id, fly)
            for _, case in ipairs { { "stop", "stopped" }, { "start", "started" },
                { "restart", "started" }, { "suspend", "suspended" }, { "start", "started" } } do
                local record = go(case[1])
                assert.equal("done", record.status, case[1] .. ": " .. tostring(record.error))
                assert.equal(1, #record.effects)
                fly.wait(id, case[2])
            end
        end)
    end)

    it("are left alone when they are as wanted already", function()
        with_machine(function(go, id, fly)
            assert.same({}, go("start").effects)
            go "stop"
            fly.wait(id, "stopped")
            assert.same({}, go("stop").effects)
            assert.same({}, go("uncordon").effects)
            go "cordon"
            assert.is_true(fly.get(id).cordoned)
            assert.same({}, go("cordon").effects)
        end)
    end)

    it("are not changed by a plan", function()
        with_machine(function(go, id, fly)
            for verb, more in pairs { stop = {}, restart = {}, cordon = {},
                destroy = { force = true }, signal = { signal = "SIGTERM" },
                exec = { command = { "true" } }, clone = {} } do
                local record = go(verb, more, true)
                assert.equal("done", record.status, verb .. ": " .. tostring(record.error))
                assert.equal("planned", record.effects[1].status)
            end
            assert.equal("started", fly.get(id).state)
        end)
    end)

    it("wait for the lease of somebody else, and name the holder", function()
        with_machine(function(go, id, fly)
            local _, lease = fly.call("POST", "/v1/apps/web/machines/" .. id .. "/lease?ttl=1")
            local record = go "stop"
            assert.equal("done", record.status, tostring(record.error))
            assert.matches("is held by " .. lease.data.owner:gsub("%p", "%%%0"),
                record.notes[1].text)
            local status = fly.call("GET", "/v1/apps/web/machines/" .. id .. "/lease")
            assert.equal(404, status)
        end)
    end)

    it("are destroyed when they are stopped, or by force", function()
        with_machine(function(go, id, fly)
            assert.equal("fly.not_stopped", go("destroy").error.code)
            assert.equal("done", go("destroy", { force = true }).status)
            fly.until_true(function() return fly.get(id).state == "destroyed" end)
            assert.same({}, go("destroy").effects)
        end)
    end)

    it("are listed, looked at and copied", function()
        with_machine(function(go, id)
            assert.equal(id, go("status").value.id)
            assert.equal("registry.fly.io/web:a", go("status").value.image:match("^[^@]+"))
            local cloned = go("clone", { name = "second" })
            assert.equal("done", cloned.status, tostring(cloned.error))
            local made = cloned.value.id
            assert.equal(2, #machines.list { app = "web" })
            assert.equal(0, #machines.list { app = "web", managed = true })
            assert.equal(0, #machines.list { app = "web", region = "ams" })
            local copy = machines.get { app = "web", id = made }
            assert.equal("second", copy.name)
            assert.equal(copy.image_ref.digest, machines.get({ app = "web", id = id })
                .image_ref.digest)
            assert.equal("fly.not_found", go("get", { id = "nosuch" }).error.code)
        end)
    end)
end)
