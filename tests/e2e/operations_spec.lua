-- The recipes of the operations manual, each a line of dgrun: what `flyctl … --json | jq …` gave is
-- compared with what the API of the local Fly says itself. Logs are in logs_spec.lua.
local json = require "dgrun.core.json"
local local_fly = require "support.local_fly"
local until_true = require("support.wait").until_true

local image = "registry.fly.io/web:a"

---An app with two web machines and a cron machine.
local function with_app(behaviour)
    local fly = local_fly.start()
    fly:register(image, behaviour)
    local ids = {}
    for _, name in ipairs { "web-1", "web-2" } do
        ids[name] = fly:web("web", image, { name = name }).id
        fly:wait("web", ids[name], "started")
    end
    local _, cron = fly:call("POST", "/v1/apps/web/machines", { name = "news", skip_launch = true,
        config = { image = image, schedule = "hourly" } })
    ids.news = cron.id
    fly:wait("web", cron.id, "stopped")
    return fly, ids
end

local function ids_of(list)
    local ids = {}
    for i, one in ipairs(list) do
        ids[i] = one.id
    end
    table.sort(ids)
    return ids
end

local function bad(fly, status, text, argv)
    local result = fly:run(argv)
    assert.equal(status, result.status, table.concat(argv, " ") .. ": " .. result.all)
    assert.matches(text, result.stderr, nil, true)
    assert.is_nil(result.all:find "traceback")
    return result
end

describe("the recipe", function()
    it("'list the machines' tells what the API tells, filtered or not", function()
        local fly, ids = with_app()
        local _, raw = fly:call("GET", "/v1/apps/web/machines")
        local list = fly:json { "machines", "list", "prod", "--json" }
        assert.same(ids_of(raw), ids_of(list))
        for _, row in ipairs(list) do
            local machine = fly:machine("web", row.id)
            assert.same({ machine.name, machine.state, machine.region,
                image .. "@" .. machine.image_ref.digest, machine.config.schedule },
                { row.name, row.state, row.region, row.image, row.schedule })
        end
        assert.same({ ids.news }, ids_of(fly:json { "machines", "--json", "--state", "stopped",
            "web" }))
        assert.equal(2, #fly:json { "machines", "list", "--app", "web", "--group", "app",
            "--json" })
        assert.same({}, fly:json { "machines", "stage", "--json" })
        local text = fly:run({ "machines", "prod" }).stdout
        assert.matches("^ID +NAME +GROUP +REGION +STATE +CHECKS +IMAGE +COMMIT +AGE\n", text)
        assert.matches(ids["web-1"] .. "  web%-1  +app +ewr +started +[%-%d/]+[ %a]* +a +%-", text)
        assert.matches(ids.news .. " +news +cron, hourly +ewr +stopped +%- +a +%- +%d", text)
    end)

    it("'status of a machine' tells its state, checks, exit code and events", function()
        local fly, ids = with_app()
        local status = fly:json { "machines", "status", "prod", "web-1", "--json" }
        local raw = fly:machine("web", ids["web-1"])
        assert.same({ raw.id, "started", "app", "start" },
            { status.id, status.state, status.group, status.events[1].type })
        fly:run { "machines", "stop", "prod", "web-1" }
        status = fly:json { "machines", "status", "prod", ids["web-1"]:sub(1, 8), "--json" }
        assert.same({ "stopped", 0, true }, { status.state, status.last_exit.exit_code,
            status.last_exit.requested_stop })
        local text = fly:run({ "machines", "status", "prod", "web-1" }).stdout
        assert.matches("exit +stopped +flyd +exit code 0, as requested", text)
        local events = fly:json { "machines", "events", "prod", "web-1", "-n", "2", "--json" }
        assert.equal(2, #events)
        assert.same({ "exit", 0 }, { events[1].type, events[1].exit_code })
        bad(fly, 1, "Did you mean 'web-", { "machines", "status", "prod", "web-3" })
        bad(fly, 2, "ID is required", { "machines", "status", "prod" })
    end)

    it("'start and stop machines' is told, converges, can be planned", function()
        local fly, ids = with_app()
        local plan = fly:run { "plan", "machines", "stop", "prod", "web-1", "web-2" }
        assert.equal(0, plan.status, plan.all)
        assert.matches("Plan: 2 to update", plan.stdout)
        assert.equal("started", fly:machine("web", ids["web-1"]).state)

        local stopped = fly:json { "machines", "stop", "prod", "web-1", ids["web-2"], "--json" }
        assert.same({ "stopped", "stopped" }, { stopped[1].state, stopped[2].state })
        assert.equal("stopped", fly:machine("web", ids["web-2"]).state)
        local again = fly:run { "machines", "stop", "prod", "web-1" }
        assert.equal(0, again.status)
        assert.matches("is already stopped", again.stderr)

        local started = fly:json { "machines", "start", "prod", "--all", "--json" }
        assert.same(ids_of { { id = ids["web-1"] }, { id = ids["web-2"] } }, ids_of(started))
        assert.equal("started", fly:machine("web", ids["web-1"]).state)
        assert.equal("stopped", fly:machine("web", ids.news).state)
        bad(fly, 2, "which machines?", { "machines", "stop", "prod" })
        bad(fly, 2, "name machines or use --all", { "machines", "stop", "prod", "web-1", "--all" })
    end)

    it("'take a machine out of traffic, suspend, signal, copy, destroy it' is a line each",
        function()
            local fly, ids = with_app()
            local id = ids["web-1"]
            fly:json { "machines", "cordon", "prod", "web-1", "--json" }
            assert.is_true(fly:machine("web", id).cordoned)
            assert.matches("started, cordoned", fly:run({ "machines", "prod" }).stdout)
            fly:json { "machines", "uncordon", "prod", "web-1", "--json" }
            assert.is_false(fly:machine("web", id).cordoned)
            assert.equal("suspended",
                fly:json({ "machines", "suspend", "prod", "web-1", "--json" })[1].state)
            fly:json { "machines", "start", "prod", "web-1", "--json" }
            bad(fly, 2, "--signal is required", { "machines", "signal", "prod", "web-1" })
            fly:json { "machines", "signal", "prod", "web-1", "-s", "SIGUSR1", "--json" }
            assert.equal("started", fly:machine("web", id).state)

            local made = fly:json { "machines", "clone", "prod", "web-1", "--name", "web-3",
                "--region", "ams", "--json" }
            assert.equal("ams", fly:machine("web", made.id).region)
            fly:wait("web", made.id, "started")
            bad(fly, 1, "Stop it first, or use --force", { "machines", "destroy", "prod", "news",
                "web-3" })
            assert.equal("stopped", fly:machine("web", ids.news).state)
            fly:json { "machines", "destroy", "prod", "news", "web-3", "--force", "--json" }
            assert.same(ids_of { { id = id }, { id = ids["web-2"] } },
                ids_of(fly:json { "machines", "prod", "--json" }))
        end)

    it("'run a command in a machine' gives its output and exit status", function()
        local fly = with_app { exec = { stdout = "out\27[31m\n", stderr = "err\n", exit_code = 3,
            commands = { ["true"] = { stdout = "" }, ["killed"] = { exit_signal = 9 } } } }
        local result = fly:run { "machines", "exec", "prod", "web-1", "--", "ls", "-l" }
        assert.same({ 3, "out\n" }, { result.status, result.stdout })
        assert.matches("err\ndgrun: the command exited with code 3\n$", result.stderr)
        result = fly:run { "machines", "exec", "prod", "web-1", "--json", "--", "ls" }
        assert.equal(3, result.status)
        assert.same({ exit_code = 3, exit_signal = 0, stdout = "out\27[31m\n", stderr = "err\n" },
            json.decode(result.stdout))
        assert.equal(0, fly:run({ "exec", "prod", "-m", "web-1", "--", "true" }).status)
        assert.equal(137, fly:run({ "exec", "prod", "-m", "web-1", "--", "killed" }).status)
        bad(fly, 1, "is stopped", { "machines", "exec", "prod", "news", "--", "ls" })
        bad(fly, 2, "no command to run", { "machines", "exec", "prod", "web-1" })
        local plan = fly:run { "plan", "exec", "prod", "-m", "web-1", "--", "ls", "-l" }
        assert.matches("! run ls %-l in machine", plan.stdout)
    end)

    it("'releases' tells version, status, commit", function()
        local fly = with_app()
        assert.equal("This app has no releases.\n", fly:run({ "releases", "prod" }).stdout)
        for i = 1, 2 do
            local _, made = fly:call("POST", "/api/v1/releases", { app_name = "web",
                image = image, strategy = "ROLLING",
                definition = { app = "web", dgrun = { commit = ("a"):rep(39) .. i } } })
            fly:call("PATCH", "/api/v1/releases/" .. made.release.id,
                { status = i == 1 and "complete" or "failed" })
        end
        local list = fly:json { "releases", "prod", "--json" }
        assert.same({ 2, "failed", image, ("a"):rep(39) .. "2" },
            { list[1].version, list[1].status, list[1].image, list[1].commit })
        assert.equal(1, #fly:json { "releases", "web", "-n", "1", "--json" })
        assert.matches("v1 +complete +%d+%-%d+%-%d+ %d+:%d+ +sandbox@example.com +a +aaaaaaaaaaaa",
            fly:run({ "releases", "prod" }).stdout)
    end)
end)

describe("dgrun exec", function()
    local function one_offs(fly)
        local _, list = fly:call("GET", "/v1/apps/web/machines")
        local found = {}
        for _, machine in ipairs(list) do
            if machine.config.metadata and machine.config.metadata.dgrun_one_off then
                found[#found + 1] = machine
            end
        end
        return found
    end

    it("runs a command on a machine of its own, and gives its lines and exit status", function()
        local fly = with_app { log = { "one", "two" }, exit_code = 5 }
        local result = fly:run { "exec", "prod", "--", "migrate", "--now" }
        assert.same({ 5, "one\ntwo\n" }, { result.status, result.stdout })
        assert.matches("! run migrate %-%-now on a new machine of web\n", result.stderr)
        assert.matches("dgrun: the command exited with code 5\n$", result.stderr)
        local told = json.decode(fly:run({ "exec", "web", "--json", "--", "x" }).stdout)
        assert.same({ 5, "one\ntwo\n", false }, { told.exit_code, told.stdout, told.oom_killed })
        assert.same({ "x" }, fly:machine("web", told.id).config.init.cmd)
        assert.same({}, one_offs(fly))
        bad(fly, 1, "Deploy the app first", { "exec", "stage", "--", "x" })
        bad(fly, 2, "no command to run", { "exec", "prod" })
        -- Nobody's history needs to know what the command wrote.
        local show = fly:run { "show", "--json" }
        assert.is_nil(show.stdout:find("one\\n", 1, true))
    end)

    it("ends the command at Ctrl-C; what a kill left is removed by the next one", function()
        local fly = with_app { log = { "begun" }, seconds = 600 }
        for _, signal in ipairs { "SIGINT", "SIGKILL" } do
            local child = fly:spawn { "exec", "prod", "--", "sleep" }
            repeat
                local item = assert(child:read(), "it ended")
            until item.line == "begun"
            child:kill(signal)
            while child:read() do end
            local exit = child:wait()
            if signal == "SIGINT" then
                assert.equal(130, exit.status)
                until_true(function() return #one_offs(fly) == 0 end)
            else
                assert.equal(9, exit.signal)
                assert.equal(1, #one_offs(fly))
            end
        end
        local left = one_offs(fly)[1].id
        fly:register(image, {}, fly:machine("web", left).image_ref.digest)
        local result = fly:run { "exec", "prod", "--timeout", "1m", "--", "true" }
        assert.matches("- destroy machine " .. left .. " of web, left by a killed command",
            result.stderr, nil, true)
        assert.equal(0, result.status, result.all)
        until_true(function() return #one_offs(fly) == 0 end)
    end)
end)

describe("machines are completed by the shells", function()
    it("with ids and names, and where Fly does not answer, with nothing", function()
        local fly, ids = with_app()
        local result = fly:run { "complete", "--", "machines", "stop", "prod", "" }
        assert.equal(0, result.status)
        for name, id in pairs(ids) do
            assert.matches(id .. "\t" .. name, result.stdout, nil, true)
            assert.matches("\n" .. name .. "\t", result.stdout, nil, true)
        end
        assert.matches("^web%-1\t", fly:run({ "complete", "--", "logs", "prod", "--instance",
            "web-1" }).stdout)
        assert.matches("restart\t", fly:run({ "complete", "--", "machines", "re" }).stdout)
        fly:fault { path = "/machines$", times = 100, status = 503 }
        assert.same({ 0, "", "" }, { (function()
            local r = fly:run { "complete", "--", "exec", "prod", "--machine", "" }
            return r.status, r.stdout, r.stderr
        end)() })
    end)
end)
