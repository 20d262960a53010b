-- Commands on a machine of their own: dg.fly.run.
local fly_run = require "support.fly_run"
local run = require "dgrun.fly.command"
local task = require "dgrun.core.task"

local image = "registry.fly.io/web:a"

---A deployed machine of each of these groups.
local function with_app(groups, behaviour, body)
    fly_run.with(function(fly, execute)
        fly.register(image, behaviour)
        for _, group in ipairs(groups) do
            local config = { image = image, env = { GROUP = group },
                metadata = { fly_platform_version = "v2", fly_process_group = group,
                    fly_release_version = "3", dgrun_commit = ("c"):rep(40) },
                guest = { cpu_kind = "shared", cpus = 1, memory_mb = 512 },
                init = { cmd = { "serve" }, entrypoint = { "tini" } },
                services = require("support.sandbox").web_config.services }
            fly.wait(fly.create({ config = config }).id, "started")
        end
        local function go(command, more, plan)
            local opts = { app = "web", command = command }
            for name, value in pairs(more or {}) do
                opts[name] = value
            end
            return execute(function() return run.run(opts) end, plan)
        end
        body(go, fly, execute)
    end)
end

local function list(fly, deleted)
    local _, all = fly.call("GET", "/v1/apps/web/machines"
        .. (deleted and "?include_deleted=true" or ""))
    return all
end

describe("a command on a machine of its own", function()
    it("has the image, secrets and configuration of those that serve", function()
        with_app({ "app", "worker" }, { log = { "one", "two" }, exit_code = 4 }, function(go, fly)
            assert.equal(200, (fly.call("POST", "/v1/apps/web/secrets",
                { values = { A = "1" } })))
            local record = go { "migrate", "--fast" }
            assert.equal("done", record.status, tostring(record.error))
            local value = record.value
            assert.same({ 4, false, "one\ntwo\n" }, { value.exit_code, value.oom_killed,
                value.stdout })
            assert.matches("^" .. image .. "@sha256:", value.image)
            local machine = fly.get(value.id)
            assert.equal("destroyed", machine.state)
            local config = machine.config
            assert.same({ "migrate", "--fast" }, config.init.cmd)
            assert.same({ "tini" }, config.init.entrypoint)
            assert.equal("app", config.env.GROUP)
            assert.equal(512, config.guest.memory_mb)
            assert.equal("no", config.restart.policy)
            assert.is_true(config.auto_destroy)
            assert.is_nil(config.services)
            assert.is_nil(config.metadata.fly_platform_version)
            assert.equal(record.id, config.metadata.dgrun_one_off)
            -- Neither its output nor more than one effect stands in the record.
            assert.equal(1, #record.effects)
            assert.is_nil(record.effects[1].result.stdout)
            assert.equal("worker", fly.get(go({ "x" }, { group = "worker" }).value.id)
                .config.env.GROUP)
        end)
    end)

    it("is planned, not run", function()
        with_app({ "app" }, {}, function(go, fly)
            local record = go({ "rm", "-r", "x" }, {}, true)
            assert.equal("planned", record.effects[1].status)
            assert.equal("run rm -r x on a new machine of web", record.effects[1].summary)
            assert.equal("run", record.effects[1].action)
            assert.equal(1, #list(fly, true))
        end)
    end)

    it("tells its lines as they come, those of the platform not", function()
        with_app({ "app" }, { chatter = { per_second = 1000, lines = 300 }, seconds = 0.6 },
            function(go)
                local lines = {}
                local record = go({ "x" }, { on_line = function(line)
                    lines[#lines + 1] = line
                end })
                assert.equal("done", record.status, tostring(record.error))
                assert.equal(300, #lines)
                assert.equal("line 1", lines[1])
                assert.equal("line 300", lines[300])
                assert.is_nil(record.value.stdout)
            end)
    end)

    it("is run though its lines cannot be read", function()
        with_app({ "app" }, { log = { "one" } }, function(go, fly)
            fly.fault { path = "/logs$", status = 403, times = 100 }
            local record = go { "x" }
            assert.equal("done", record.status, tostring(record.error))
            assert.equal(0, record.value.exit_code)
            assert.matches("cannot read the output of machine", record.notes[1].text)
        end)
    end)

    it("is ended after its time, and when it is cancelled", function()
        with_app({ "app" }, { seconds = 600, exit_code = 0 }, function(go, fly, execute)
            local late = go({ "x" }, { timeout = 0.05 })
            assert.equal("fly.command_timeout", late.error.code)
            fly.until_true(function() return #list(fly) == 1 end)

            local record = execute(function()
                return task.timeout(0.5, function()
                    run.run { app = "web", command = { "y" } }
                end)
            end)
            assert.equal("timeout", record.error.code)
            fly.until_true(function() return #list(fly) == 1 end)
            assert.equal(3, #list(fly, true))
        end)
    end)

    it("needs a machine to be like, and a group where there are several", function()
        with_app({}, {}, function(go)
            assert.equal("fly.no_machine", go({ "x" }).error.code)
            assert.equal("input.missing", go({}).error.code)
        end)
        with_app({ "web", "worker" }, {}, function(go)
            local record = go { "x" }
            assert.equal("input.missing", record.error.code)
            assert.matches("web and worker", record.error.msg)
            assert.equal("input.unknown", go({ "x" }, { group = "wrker" }).error.code)
            assert.equal("done", go({ "x" }, { group = "worker" }).status)
        end)
    end)

    it("leaves alone what another run made that may still be there", function()
        with_app({ "app" }, {}, function(go, fly)
            local other = fly.create { skip_launch = true, config = { image = image,
                metadata = { dgrun_one_off = "20260101-000000-abcd" } } }
            fly.wait(other.id, "stopped")
            local record = go { "x" }
            assert.equal("done", record.status)
            assert.matches("never started", record.notes[1].text)
            assert.equal("stopped", fly.get(other.id).state)
        end)
    end)
end)
