-- Machines by hand, one or several: dg.fly.machines, and the words that name machines.
local fly_run = require "support.fly_run"
local machines = require "dgrun.fly.machine_actions"
local names = require "dgrun.fly.machines"

local image = "registry.fly.io/web:a"

---Machines that deploys touch, of these names, and a cron machine.
local function with_machines(list, body)
    fly_run.with(function(fly, execute)
        fly.register(image)
        local ids = {}
        for _, name in ipairs(list) do
            local config = { image = image, metadata = { fly_platform_version = "v2",
                fly_process_group = name:match "^(%a+)-" or "app" } }
            for key, value in pairs(require("support.sandbox").web_config) do
                config[key] = value
            end
            local machine = fly.create { name = name, config = config }
            fly.wait(machine.id, "started")
            ids[name] = machine.id
        end
        local cron = fly.create { name = "cron", skip_launch = true, config = { image = image,
            schedule = "hourly", metadata = {} } }
        fly.wait(cron.id, "stopped")
        ids.cron = cron.id
        local function go(verb, opts, plan)
            opts.app = "web"
            return execute(function() return machines.each(verb, opts) end, plan)
        end
        body(go, ids, fly)
    end)
end

local function targets(record)
    local list = {}
    for i, effect in ipairs(record.effects) do
        list[i] = effect.target:match "/(.*)$"
    end
    return list
end

local function sorted(...)
    local list = { ... }
    table.sort(list)
    return list
end

describe("several machines", function()
    it("are all that serve, in the order of their ids; no cron machine, no standby", function()
        with_machines({ "app-1", "app-2", "worker-1" }, function(go, ids, fly)
            local standby = fly.create { name = "standby", skip_launch = true, config = {
                image = image, standbys = { ids["worker-1"] },
                metadata = { fly_platform_version = "v2", fly_process_group = "worker" } } }
            local record = go("stop", { all = true })
            assert.equal("done", record.status, tostring(record.error))
            assert.same(sorted(ids["app-1"], ids["app-2"], ids["worker-1"]), targets(record))
            for _, row in ipairs(record.value) do
                assert.equal("stopped", row.state)
            end
            record = go("start", { all = true, group = "worker" })
            assert.same({ ids["worker-1"] }, targets(record))
            assert.equal("worker-1", record.value[1].name)
            assert.equal("started", record.value[1].state)
            assert.not_equal("started", fly.get(standby.id).state)
            assert.equal("stopped", fly.get(ids.cron).state)
            assert.equal("fly.no_machine", go("stop", { all = true, region = "ams" }).error.code)
        end)
    end)

    it("are restarted one after the other; the rest is left when one is not well", function()
        with_machines({ "app-1", "app-2" }, function(go, ids, fly)
            local function restarts()
                local _, answer = fly.call("GET", "/sandbox/v1/requests")
                local list = {}
                for _, request in ipairs(answer.requests) do
                    local id, verb = request.path:match "/machines/(%x+)/?(%a*)$"
                    if verb == "restart" or id and verb == "" and request.method == "GET"
                        and #list > 0 then
                        list[#list + 1] = verb == "restart" and "restart " .. id or "look " .. id
                    end
                end
                return list
            end
            local record = go("restart", { all = true })
            assert.equal("done", record.status, tostring(record.error))
            local first, second = unpack(sorted(ids["app-1"], ids["app-2"]))
            local list = restarts()
            assert.equal("restart " .. first, list[1])
            assert.equal("look " .. first, list[2])
            local again
            for i, what in ipairs(list) do
                again = what == "restart " .. second and i or again
            end
            for i = again, #list do
                assert.is_nil(list[i]:find("restart " .. first, 1, true))
            end

            fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/behaviour"):format(first),
                { crash = true })
            record = go("restart", { all = true })
            assert.equal("fly.crashed", record.error.code)
            assert.same({ first }, targets(record))
            assert.equal("started", fly.get(second).state)
        end)
    end)

    it("that are down are not restarted with all, nor by themselves", function()
        with_machines({ "app-1", "app-2" }, function(go, ids)
            go("stop", { words = { "app-2" } })
            local record = go("restart", { all = true })
            assert.same({ ids["app-1"] }, targets(record))
            assert.matches("is stopped; leaving it unchanged", record.notes[1].text)
            assert.equal("fly.precondition", go("restart", { words = { "app-2" } }).error.code)
        end)
    end)

    it("are destroyed all or none", function()
        with_machines({ "app-1", "app-2" }, function(go, ids, fly)
            go("stop", { words = { "app-2" } })
            local record = go("destroy", { words = { "app-2", "app-1" } })
            assert.equal("fly.not_stopped", record.error.code)
            assert.equal("stopped", fly.get(ids["app-2"]).state)
            record = go("destroy", { words = { "app-2", "app-1", ids["app-2"] },
                how = { force = true } })
            assert.same({ ids["app-2"], ids["app-1"] }, targets(record))
            assert.equal("destroyed", record.value[1].state)
            assert.equal(1, #machines.list { app = "web" })
        end)
    end)

    it("have to be named, one way or the other", function()
        with_machines({ "app-1" }, function(go)
            assert.equal("input.missing", go("stop", {}).error.code)
            assert.equal("input.invalid", go("stop", { all = true, words = { "x" } }).error.code)
            assert.equal("input.invalid", go("stop", { group = "app" }).error.code)
            assert.equal("input.invalid", go("stop", { group = "app", words = { "app-1" } })
                .error.code)
        end)
    end)

    it("are not changed by a plan", function()
        with_machines({ "app-1", "app-2" }, function(go, ids, fly)
            for verb, how in pairs { stop = {}, restart = {}, suspend = {}, cordon = {},
                signal = { signal = "SIGHUP" }, destroy = { force = true } } do
                local record = go(verb, { words = { "app-1", "app-2" }, how = how }, true)
                assert.equal("done", record.status, verb .. ": " .. tostring(record.error))
                assert.same({ ids["app-1"], ids["app-2"] }, targets(record))
            end
            assert.equal("started", fly.get(ids["app-1"]).state)
        end)
    end)
end)

describe("machines are named", function()
    it("by id, by the beginning of one, by name", function()
        with_machines({ "app-1", "app-2" }, function(_, ids)
            local id = ids["app-1"]
            for _, word in ipairs { id, id:sub(1, 8), "app-1" } do
                local found = names.find("web", { word, id })
                assert.equal(1, #found)
                assert.equal(id, found[1].id)
            end
            local ok, e = pcall(names.find, "web", { "app-3" })
            assert.is_false(ok)
            assert.equal("fly.not_found", e.code)
            assert.matches("Did you mean 'app%-[12]'", e.hint)
            ok, e = pcall(names.find, "web", { "" })
            assert.is_false(ok)
            assert.equal("fly.not_found", e.code)
        end)
    end)

    it("not by a beginning that several have", function()
        fly_run.with(function(fly)
            fly.register(image)
            local first, machine = {}, nil
            -- Of seventeen ids two begin alike.
            for i = 1, 17 do
                machine = fly.create { name = "m" .. i, skip_launch = true,
                    config = { image = image } }
                local letter = machine.id:sub(1, 1)
                if first[letter] then
                    break
                end
                first[letter] = machine.id
            end
            local ok, e = pcall(names.find, "web", { machine.id:sub(1, 1) })
            assert.is_false(ok)
            assert.equal("input.ambiguous_machine", e.code)
            assert.matches(machine.id, e.hint)
            assert.equal(machine.id, names.find("web", { machine.id })[1].id)
        end)
    end)

    it("where they are, of several apps", function()
        fly_run.with(function(fly)
            fly.register(image)
            local machine = fly.create { name = "here", config = { image = image } }
            local id, apps = names.locate({ "other", "web" }, "here")
            assert.same({ machine.id, { "web" } }, { id, apps })
            id, apps = names.locate({ "other", "web" }, "ffffffffffffff")
            assert.same({ "ffffffffffffff", { "other", "web" } }, { id, apps })
            local ok, e = pcall(names.locate, { "other", "web" }, "there")
            assert.is_false(ok)
            assert.matches("other and web have no machine 'there'", e.msg)
        end, { apps = { "web", "other" } })
    end)
end)

describe("a machine's row", function()
    it("tells what a person wants to know", function()
        with_machines({ "worker-1" }, function(_, ids, fly)
            fly.until_true(function() return #fly.get(ids["worker-1"]).checks == 1
                and fly.get(ids["worker-1"]).checks[1].status == "passing" end)
            local list = machines.overview { app = "web" }
            assert.equal(2, #list)
            local row = list[1]
            local raw = fly.get(ids["worker-1"])
            assert.same({ raw.id, "worker-1", "worker", "ewr", "started", false, raw.created_at },
                { row.id, row.name, row.group, row.region, row.state, row.cordoned,
                    row.created_at })
            assert.same({ name = "servicecheck-00-http-8080", status = "passing",
                output = "200 OK" }, row.checks[1])
            assert.equal(raw.created_at, row.version_at)
            assert.same({ "cron", "hourly" }, { list[2].name, list[2].schedule })
            assert.is_nil(list[2].group)
            local events = machines.events { app = "web", id = raw.id }
            assert.same({ "start", "launch" }, { events[1].type, events[2].type })
            assert.equal(1, #machines.events { app = "web", id = raw.id, limit = 1 })
        end)
    end)

    it("reads the time of a ULID", function()
        local time = require("dgrun.fly.machine_view").ulid_time
        assert.equal(1469918176.385, time "01ARYZ6S41TSV4RRFFQ69G5FAV")
        assert.is_nil(time "01ARYZ6S41")
        assert.is_nil(time "!!ARYZ6S41TSV4RRFFQ69G5FAV")
        assert.is_nil(time(nil))
    end)
end)

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

describe("an update of a machine that is being replaced", function()
    it("waits for the end of the replacement, whatever the status of the answer", function()
        local api = require "dgrun.fly.api"
        local err = require "dgrun.core.err"
        local original, refused, waited = api.machines, 0, 0
        api.machines = function(method, path)
            if path:find "/wait" then
                waited = waited + 1
                return nil, 200
            elseif method == "POST" and refused == 0 then
                refused = 1
                err.raise { code = "fly.precondition", op = "fly", status = 412,
                    msg = "refused", reason = "aborted: machine is replacing" }
            end
            return { id = "m1", config = {} }
        end
        local ok, updated = pcall(names.update, "web", "m1", { config = {} })
        api.machines = original
        assert.is_true(ok, tostring(updated))
        assert.same({ "m1", 1, 1 }, { updated.id, refused, waited })
    end)
end)
