local cron = require "dgrun.cron"
local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local leases = require "dgrun.fly.lease"
local task = require "dgrun.core.task"
local time = require "host.time"

local kinds = fly_run.kinds

local toml = [=[
app = "web"
primary_region = "ewr"
[deploy]
wait_timeout = "3s"
%s
[http_service]
internal_port = 8080
auto_start_machines = true
[[http_service.checks]]
path = "/health"
interval = "15s"
timeout = "2s"
%s
]=]

local function config(dir, deploy_lines, more)
    local path = dir / "fly.toml"
    assert(fs.write(path, toml:format(deploy_lines or "", more or "")))
    return path
end

local function image(name)
    return "registry.fly.io/web:" .. name
end

local function failed(record, code)
    assert.equal("failed", record.status)
    assert.equal(code, record.error.code, tostring(record.error))
    return record.error
end

local function statuses(fly)
    local _, answer = fly.call("GET", "/api/v1/apps/web/releases")
    local list = {}
    for i, release in ipairs(answer.releases) do
        list[i] = release.status
    end
    return list
end

describe("fly.deploy", function()
    health.smoke_seconds = 0.5

    it("creates, skips what is current, updates, stops at a bad machine", function()
        fly_run.with(function(fly, execute)
            local path = config(fly.dir)
            for name, behaviour in pairs { a = {}, b = {}, sick = { health = "critical" } } do
                fly.register(image(name), behaviour)
            end
            local function go(name, plan)
                return execute(function()
                    return deploy { app = "web", config = path, image = image(name) }
                end, plan)
            end
            local plan = go("a", true)
            assert.equal("done", plan.status, tostring(plan.error))
            local first = go "a"
            assert.equal("done", first.status, tostring(first.error))
            assert.same(kinds(plan), kinds(first))
            assert.same({ "fly.ip.create", "fly.ip.create", "fly.release.create",
                "fly.machine.create", "fly.machine.create" }, kinds(first))
            assert.equal(2, #first.value.machines)
            assert.matches("@sha256:", first.value.image)

            assert.same({}, kinds(go "a"))
            assert.same({ "fly.release.create", "fly.machine.update", "fly.machine.update" },
                kinds(go "b"))
            assert.same({ "complete", "complete" }, statuses(fly))

            local e = failed(go "sick", "fly.unhealthy")
            assert.matches("servicecheck%-00%-http%-8080 is critical", e.msg)
            assert.equal("failed", statuses(fly)[1])
            local _, machines = fly.call("GET", "/v1/apps/web/machines")
            local count = {}
            for _, machine in ipairs(machines) do
                count[machine.image_ref.tag] = (count[machine.image_ref.tag] or 0) + 1
                assert.equal(404, (fly.call("GET", "/v1/apps/web/machines/" .. machine.id
                    .. "/lease")))
            end
            assert.same({ b = 1, sick = 1 }, count)
        end)
    end)

    it("fails at once for a machine that crashes or does not boot", function()
        fly_run.with(function(fly, execute)
            -- It goes on crashing: a machine that has given up is left stopped by an update.
            local path = config(fly.dir, nil,
                '[[restart]]\npolicy = "on-failure"\nretries = 1000000\n')
            fly.register(image "crash", { crash = true })
            fly.register(image "dead", { boot = "fail" })
            local function go(name)
                return execute(function()
                    return deploy { app = "web", config = path, image = image(name) }
                end)
            end
            fly.register(image "a", {})
            assert.equal(1, failed(go "crash", "fly.crashed").exit_code)
            failed(go "dead", "fly.boot_failed")
            failed(go "crash", "fly.crashed")
            -- What it did before is not held against the version that cures it.
            local cured = go "a"
            assert.equal("done", cured.status, tostring(cured.error))
        end)
    end)

    it("starts a machine that crashed until Fly gave up, fails if it crashes again", function()
        fly_run.with(function(fly, execute)
            local path = config(fly.dir, nil,
                '[[restart]]\npolicy = "on-failure"\nretries = 2\n')
            fly.register(image "crash", { crash = true })
            fly.register(image "a", {})
            local function go(name, plan)
                return execute(function()
                    return deploy { app = "web", config = path, image = image(name), ha = false }
                end, plan)
            end
            failed(go "crash", "fly.crashed")
            local id
            local function gives_up()
                fly.until_true(function()
                    local _, list = fly.call("GET", "/v1/apps/web/machines")
                    id = list[1].id
                    return #list == 1 and list[1].state == "stopped"
                end)
            end
            gives_up()
            assert.same({ "fly.machine.start", "fly.release.create",
                "fly.machine.metadata" }, kinds(go("crash", true)))
            assert.equal(1, failed(go "crash", "fly.crashed").exit_code)
            gives_up()
            assert.equal("done", go("a").status)
            assert.equal("started", fly.get(id).state)
        end)
    end)

    it("fails soon where the program listens on another port", function()
        fly_run.with(function(fly, execute)
            local before = health.elsewhere_seconds
            health.elsewhere_seconds = 5
            task.defer(function() health.elsewhere_seconds = before end)
            local path = config(fly.dir, nil)
            fly.register(image "elsewhere", { health = "critical", listen = "[::]:3000" })
            local began = time.now()
            local e = failed(execute(function()
                return deploy { app = "web", config = path, image = image "elsewhere", ha = false,
                    wait_timeout = 300 }
            end), "fly.unhealthy")
            assert.matches("nothing listens on 0.0.0.0:8080 (internal_port); the program "
                .. "listens on [::]:3000", e.msg, 1, true)
            assert.is_true(time.now() - began < 10)
            assert(fs.write(path, 'app = "web"\n[http_service]\ninternal_port = 8080\n'))
            fly.register(image "silent", { listen = "[::]:3000" })
            assert.matches("listens on [::]:3000", failed(execute(function()
                return deploy { app = "web", config = path, image = image "silent", ha = false }
            end), "fly.unhealthy").msg, 1, true)
        end)
    end)

    it("runs the release command first; when it fails nothing else happens", function()
        fly_run.with(function(fly, execute)
            local path = config(fly.dir, 'release_command = "migrate all"')
            fly.register(image "a", { exit_code = 2, log = { "no table" } })
            local e = failed(execute(function()
                return deploy { app = "web", config = path, image = image "a" }
            end), "fly.release_command_failed")
            assert.equal(2, e.exit_code)
            assert.equal("no table", e.lines[1])
            local _, machines = fly.call("GET", "/v1/apps/web/machines")
            assert.same({}, machines)
        end)
    end)

    it("makes no second release when nothing changed, with a standby too", function()
        fly_run.with(function(fly, execute)
            local path = fly.dir / "fly.toml"
            assert(fs.write(path, 'app = "web"\nprimary_region = "ewr"\n[processes]\nw = "work"\n'))
            fly.register(image "a", { seconds = 60 })
            local function go()
                return execute(function()
                    return deploy { app = "web", config = path, image = image "a" }
                end)
            end
            local first = go()
            assert.equal("done", first.status, tostring(first.error))
            assert.equal(2, #first.value.machines)
            assert.is_false(go().value.changed)
            assert.same({ "complete" }, statuses(fly))
        end)
    end)

    it("creates the volumes of a first deploy as the mount says", function()
        fly_run.with(function(fly, execute)
            local path = config(fly.dir, nil, '[[mounts]]\nsource = "data"\ndestination = "/data"\n'
                .. 'initial_size = "2.5gb"\nsnapshot_retention = 9\nscheduled_snapshots = false\n')
            fly.register(image "a")
            local record = execute(function()
                return deploy { app = "web", config = path, image = image "a" }
            end, true)
            local volume
            for _, effect in ipairs(record.effects) do
                volume = effect.kind == "fly.volume.create" and effect.after or volume
            end
            assert.same({ 2, 9, false }, { volume.size_gb, volume.snapshot_retention,
                volume.auto_backup_enabled })
        end)
    end)

    it("destroys machines of groups that are gone, and leaves others alone", function()
        fly_run.with(function(fly, execute)
            fly.register(image "a")
            local function machine(metadata)
                return fly.create { config = { image = image "a", metadata = metadata } }
            end
            local old = machine { fly_platform_version = "v2", fly_process_group = "gone" }
            local foreign = machine { mine = "yes" }
            fly.wait(old.id, "stopped")
            local record = execute(function()
                return deploy { app = "web", config = config(fly.dir), image = image "a" }
            end)
            assert.equal("done", record.status, tostring(record.error))
            fly.until_true(function() return fly.get(old.id).state == "destroyed" end)
            assert.are_not.equal("destroyed", fly.get(foreign.id).state)
        end)
    end)

    it("survives answers that are lost: one machine each", function()
        fly_run.with(function(fly, execute)
            fly.register(image "a")
            for _, when in ipairs { "before", "after" } do
                fly.call("POST", "/sandbox/v1/faults", { method = "POST",
                    path = "^/v1/apps/web/machines$", reset = true, when = when })
            end
            local record = execute(function()
                return deploy { app = "web", config = config(fly.dir), image = image "a" }
            end)
            assert.equal("done", record.status, tostring(record.error))
            local _, machines = fly.call("GET", "/v1/apps/web/machines")
            assert.equal(2, #machines)
        end)
    end)

    it("waits for a lease, and gives up with its holder's name", function()
        fly_run.with(function(fly, execute)
            fly.register(image "a")
            fly.register(image "b")
            local path = config(fly.dir)
            local function go(name)
                return execute(function()
                    return deploy { app = "web", config = path, image = image(name) }
                end)
            end
            local id = go("a").value.machines[1]
            fly.call("POST", ("/v1/apps/web/machines/%s/lease?ttl=60"):format(id))
            local before = leases.acquire_within
            leases.acquire_within = 0.2
            local e = failed(go "b", "fly.lease_held")
            leases.acquire_within = before
            assert.matches("sandbox@example.com", e.msg)
        end)
    end)

    it("forgets the commit of the deploy before, when it is not told its own", function()
        fly_run.with(function(fly, execute)
            local path = config(fly.dir)
            fly.register(image "a")
            local function commit_after(commit)
                local record = execute(function()
                    return deploy { app = "web", config = path, image = image "a", ha = false,
                        commit = commit }
                end)
                assert.equal("done", record.status, tostring(record.error))
                return fly.get(record.value.machines[1]).config.metadata.dgrun_commit
            end
            assert.equal("abc", commit_after "abc")
            assert.is_nil(commit_after(nil))
        end)
    end)

    it("names an app, an image or a strategy that is not there", function()
        fly_run.with(function(fly, execute)
            local path = config(fly.dir)
            fly.register(image "a")
            local function go(opts)
                opts.config = path
                return execute(function() return deploy(opts) end)
            end
            failed(go { app = "nosuch", image = image "a" }, "fly.no_app")
            failed(go { app = "web", image = image "nosuch" }, "fly.no_image")
            failed(go { app = "web", image = image "a", strategy = "fast" }, "fly.no_strategy")
            failed(go { app = "web", image = image "a", stratgy = "x" }, "input.unknown_option")
        end)
    end)
end)

describe("cron", function()
    local cron_toml = '[processes]\ncron = "%s"\n[[vm]]\nmemory = "512mb"\n'

    local function declare(fly, command)
        assert(fs.write(fly.dir / "cron.toml", cron_toml:format(command or "run the job")))
        return { app = "web", dir = fly.dir, image = image "a", crons = { {
            name = "job", config = "cron.toml", schedule = "hourly",
            when_running = { wait = 0.2, ["then"] = "skip" },
        } } }
    end

    local function job(fly)
        local _, machines = fly.call("GET", "/v1/apps/web/machines")
        assert.equal(1, #machines)
        return machines[1]
    end

    it("creates, leaves alone, converges the whole declaration, and starts it again", function()
        fly_run.with(function(fly, execute)
            fly.register(image "a")
            local function sync(opts) return execute(function() cron.sync(opts) end) end
            assert.same({ "fly.machine.create" }, kinds(sync(declare(fly))))
            fly.wait(job(fly).id, "stopped")
            assert.same({}, kinds(sync(declare(fly))))
            assert.same({ "fly.machine.update" }, kinds(sync(declare(fly, "run another job"))))
            local machine = fly.wait(job(fly).id, "stopped")
            assert.same({ "run", "another", "job" }, machine.config.init.cmd)
            assert.equal("hourly", machine.config.schedule)
            local starts = 0
            for _, event in ipairs(machine.events) do
                starts = starts + (event.type == "start" and 1 or 0)
            end
            assert.equal(2, starts)
            local verified = execute(function() cron.verify(declare(fly, "run another job")) end)
            assert.equal("done", verified.status, tostring(verified.error))
            failed(execute(function() cron.verify(declare(fly)) end), "cron.drift")
        end)
    end)

    it("does not interrupt a tick, unless told to", function()
        fly_run.with(function(fly, execute)
            fly.register(image "a", { seconds = 3600 })
            execute(function() cron.sync(declare(fly)) end)
            local id = job(fly).id
            fly.wait(id, "started")
            local record = execute(function() cron.sync(declare(fly, "other")) end)
            assert.equal("done", record.status, tostring(record.error))
            assert.same({ "run", "the", "job" }, fly.get(id).config.init.cmd)
            local opts = declare(fly, "other")
            opts.crons[1].when_running["then"] = "fail"
            failed(execute(function() cron.sync(opts) end), "cron.busy")
            opts.crons[1].when_running["then"] = "interrupt"
            record = execute(function() cron.sync(opts) end)
            assert.equal("done", record.status, tostring(record.error))
            assert.same({ "other" }, fly.get(id).config.init.cmd)
        end)
    end)

    it("refuses schedules that Fly does not have", function()
        fly_run.with(function(fly, execute)
            local opts = declare(fly)
            opts.crons[1].schedule = "*/5 * * * *"
            failed(execute(function() cron.sync(opts) end), "cron.invalid_schedule")
            failed(execute(function() cron.image { app = "web" } end), "cron.no_web_machine")
            task.checkpoint()
        end)
    end)
end)

describe("a release that was left running", function()
    it("is noted on no machine after the next deploy, but that one's release on all", function()
        fly_run.with(function(fly, execute)
            local path = fly.dir / "fly.toml"
            fly.register(image "a", { seconds = 60 })
            local function versions(size)
                assert(fs.write(path, ('app = "web"\nprimary_region = "ewr"\n[processes]\na = "x"\n'
                    .. 'b = "y"\n[[vm]]\nsize = "%s"\nprocesses = ["b"]\n'):format(size)))
                local record = execute(function()
                    return deploy { app = "web", config = path, image = image "a", ha = false }
                end)
                assert.equal("done", record.status, tostring(record.error))
                local found = {}
                for i, id in ipairs(record.value.machines) do
                    found[i] = fly.get(id).config.metadata.fly_release_version
                end
                table.sort(found)
                return table.concat(found, " ")
            end
            assert.equal("1 1", versions "shared-cpu-1x")
            assert.equal("1 2", versions "shared-cpu-2x")
            fly.call("POST", "/api/v1/releases", { app_name = "web", image = image "a",
                definition = { app = "web" }, strategy = "ROLLING" })
            assert.equal("4 4", versions "shared-cpu-1x")
        end)
    end)

    it("is completed by the next deploy, which changes nothing else", function()
        fly_run.with(function(fly, execute)
            fly.register(image "a")
            local path = config(fly.dir)
            local function go()
                return execute(function()
                    return deploy { app = "web", config = path, image = image "a" }
                end)
            end
            assert.equal("done", go().status)
            fly.call("POST", "/api/v1/releases", { app_name = "web", image = image "a",
                definition = { app = "web" }, strategy = "ROLLING" })
            assert.same({ "fly.machine.metadata", "fly.release.update" }, kinds(go()))
            assert.same({ "complete", "complete" }, statuses(fly))
            assert.same({}, kinds(go()))
            local _, machines = fly.call("GET", "/v1/apps/web/machines")
            for _, machine in ipairs(machines) do
                assert.equal("2", machine.config.metadata.fly_release_version)
                assert.equal(machine.config.metadata.dgrun_release,
                    machine.config.metadata.fly_release_id)
            end
        end)
    end)
end)
