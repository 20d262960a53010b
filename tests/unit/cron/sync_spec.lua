local cron = require "dgrun.cron"
local crons = require "support.crons"
local fly_run = require "support.fly_run"
local secret = require "host.secret"
local secrets = require "dgrun.secrets"
local task = require "dgrun.core.task"

local kinds, done, notes, starts = fly_run.kinds, crons.done, crons.notes, crons.starts

---With both images registered, and a job that was created and has ticked.
local function with_job(body, opts)
    fly_run.with(function(fly, execute)
        fly.register(crons.image_a, opts and opts.behaviour)
        fly.register(crons.image_b)
        local function sync(options, plan)
            return execute(function()
                return cron.sync(options or crons.options(fly))
            end, plan)
        end
        assert.same({ "fly.machine.create" }, kinds(done(sync())))
        if not (opts and opts.running) then
            fly.wait(crons.job(fly).id, "stopped")
        end
        body(fly, execute, sync)
    end, opts)
end

---An update by hand: the configuration changed by `change`.
local function by_hand(fly, machine, change, skip_launch)
    local config = fly.get(machine.id).config
    change(config)
    local status, answer = fly.call("POST", "/v1/apps/web/machines/" .. machine.id,
        { config = config, skip_launch = skip_launch, region = machine.region })
    assert(status == 200, answer.error)
    fly.wait(machine.id, "stopped")
end

describe("cron.sync converges", function()
    -- What is declared otherwise, and what the machine has then.
    local declared = {
        image = { function(fly)
            local opts = crons.options(fly)
            opts.image = crons.image_b
            return opts
        end, function(machine) return machine.image_ref.tag == "b" end },
        command = { function(fly)
            crons.config(fly, { command = "run another" })
            return crons.options(fly)
        end, function(machine) return machine.config.init.cmd[2] == "another" end },
        entrypoint = { function(fly)
            crons.config(fly, { text = '[experimental]\nentrypoint = ["/wrap"]' })
            return crons.options(fly)
        end, function(machine) return machine.config.init.entrypoint[1] == "/wrap" end },
        environment = { function(fly)
            crons.config(fly, { name = "y" })
            return crons.options(fly)
        end, function(machine) return machine.config.env.NAME == "y" end },
        size = { function(fly)
            crons.config(fly, { memory = "1gb" })
            return crons.options(fly)
        end, function(machine) return machine.config.guest.memory_mb == 1024 end },
        schedule = { function(fly) return crons.options(fly, { schedule = "daily" }) end,
            function(machine) return machine.config.schedule == "daily" end },
        ["restart policy"] = { function(fly)
            crons.config(fly, { text = '[[restart]]\npolicy = "never"' })
            return crons.options(fly)
        end, function(machine) return machine.config.restart.policy == "no" end },
    }
    for what, case in pairs(declared) do
        it("the " .. what, function()
            with_job(function(fly, execute, sync)
                local before, opts = crons.job(fly), case[1](fly)
                assert.same({ "fly.machine.update" }, kinds(done(sync(opts, true))))
                assert.same({ "fly.machine.update" }, kinds(done(sync(opts))))
                local machine = fly.wait(before.id, "stopped")
                assert.is_true(case[2](machine))
                -- Its schedule is armed again: it was started.
                assert.equal(2, starts(machine))
                assert.same({}, kinds(done(sync(opts))))
                done(execute(function() cron.verify(opts) end))
            end)
        end)
    end

    -- What somebody did by hand, which the declaration does not have.
    local drifted = {
        ["an entrypoint that is left over"] = function(config)
            config.init.entrypoint = { "/old" }
        end,
        ["a variable that is left over"] = function(config) config.env.OLD = "1" end,
        ["a machine that destroys itself"] = function(config) config.auto_destroy = true end,
        ["services"] = function(config)
            config.services = { { protocol = "tcp", internal_port = 80 } }
        end,
        ["a restart policy"] = function(config)
            config.restart = { policy = "on-failure", max_retries = 3 }
        end,
    }
    for what, change in pairs(drifted) do
        it("away from " .. what, function()
            with_job(function(fly, execute, sync)
                local id = crons.job(fly).id
                if what == "a restart policy" then
                    crons.config(fly, { text = '[[restart]]\npolicy = "never"' })
                    done(sync())
                    fly.wait(id, "stopped")
                end
                by_hand(fly, crons.job(fly), change, true)
                assert.equal("cron.drift", execute(function()
                    cron.verify(crons.options(fly))
                end).error.code)
                assert.same({ "fly.machine.update" }, kinds(done(sync())))
                fly.wait(id, "stopped")
                done(execute(function() cron.verify(crons.options(fly)) end))
            end)
        end)
    end

    it("the region: another machine takes its place", function()
        with_job(function(fly, execute, sync)
            local before = crons.job(fly)
            crons.config(fly, { region = "ams" })
            local plan = done(sync(nil, true))
            assert.same({ "fly.machine.replace" }, kinds(plan))
            assert.equal("ewr", plan.effects[1].before.region)
            assert.equal("ams", plan.effects[1].after.region)
            done(sync())
            fly.until_true(function() return #crons.machines(fly) == 1 end)
            local machine = crons.job(fly)
            assert.are_not.equal(before.id, machine.id)
            assert.equal("ams", machine.region)
            assert.equal("job", machine.name)
            fly.wait(machine.id, "stopped")
            done(execute(function() cron.verify(crons.options(fly)) end))
        end)
    end)

    it("not the region of a machine with a volume, but says what to do", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            fly.call("POST", "/v1/apps/web/volumes", { name = "data", region = "ewr" })
            local mount = '[[mounts]]\nsource = "data"\ndestination = "/data"'
            crons.config(fly, { text = mount })
            local function sync()
                return execute(function() return cron.sync(crons.options(fly)) end)
            end
            done(sync())
            assert.equal("/data", crons.job(fly).config.mounts[1].path)
            fly.wait(crons.job(fly).id, "stopped")
            assert.same({}, kinds(done(sync())))
            crons.config(fly, { text = mount, region = "ams" })
            local e = sync().error
            assert.equal("cron.cannot_move", e.code)
            assert.matches("has a volume in ewr", e.msg)
        end)
    end)

    it("a size that is not declared is kept", function()
        with_job(function(fly, _, sync)
            by_hand(fly, crons.job(fly), function(config) config.guest.memory_mb = 2048 end, true)
            assert(require("host.fs").write(fly.dir / "cron.toml",
                'primary_region = "ewr"\n[processes]\ncron = "run less"\n'))
            done(sync())
            local machine = fly.wait(crons.job(fly).id, "stopped")
            assert.equal(2048, machine.config.guest.memory_mb)
            assert.equal("less", machine.config.init.cmd[2])
        end)
    end)

    it("a machine whose host is gone to another one", function()
        with_job(function(fly, _, sync)
            local before = crons.job(fly)
            fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/host"):format(before.id),
                { status = "unreachable" })
            assert.same({ "fly.machine.replace" }, kinds(done(sync())))
            fly.until_true(function() return #crons.machines(fly) == 1 end)
            assert.are_not.equal(before.id, crons.job(fly).id)
        end)
    end)

    it("what was made by hand under its name", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            local made = fly.create { name = "job", config = { image = crons.image_a,
                schedule = "hourly", metadata = { team = "news" } } }
            fly.wait(made.id, "stopped")
            local record = done(execute(function() return cron.sync(crons.options(fly)) end))
            assert.same({ "fly.machine.update" }, kinds(record))
            local machine = crons.job(fly)
            assert.equal(made.id, machine.id)
            assert.equal("job", machine.config.metadata.dgrun_cron)
            assert.equal("news", machine.config.metadata.team)
        end)
    end)
end)

describe("cron.sync carries the app's secrets", function()
    local function see(fly, value)
        -- A version of the machine that sees them was made after they were set.
        fly.wait(crons.job(fly).id, "stopped")
        return fly.sandbox and crons.job(fly).config.metadata.dgrun_secrets == value
    end

    it("that dgrun has set, also when nothing else changed", function()
        with_job(function(fly, execute, sync)
            done(execute(function()
                secrets.sync { app = "web", secrets = { A = secret.new("A", "value-one") } }
                cron.sync(crons.options(fly))
            end))
            assert.is_true(see(fly, "1"))
            assert.equal(2, starts(crons.job(fly)))
            assert.same({}, kinds(done(sync())))
        end)
    end)

    it("and a plan says so before they are set", function()
        with_job(function(fly, execute)
            local function go()
                secrets.sync { app = "web", secrets = { A = secret.new("A", "value-one") } }
                cron.sync(crons.options(fly))
            end
            local planned = kinds(done(execute(go, true)))
            assert.same({ "fly.secrets.set", "fly.machine.update" }, planned)
            assert.same(planned, kinds(done(execute(go))))
            assert.same({}, kinds(done(execute(go))))
        end)
    end)

    it("once, where they were brought to the machines already", function()
        with_job(function(fly, execute)
            local function go()
                secrets.sync { app = "web", apply = true,
                    secrets = { A = secret.new("A", "value-one") } }
                cron.sync(crons.options(fly))
            end
            local planned = kinds(done(execute(go, true)))
            assert.same({ "fly.secrets.set", "fly.machine.update" }, planned)
            assert.same(planned, kinds(done(execute(go))))
        end)
    end)

    it("that somebody else has set or removed", function()
        with_job(function(fly, execute, sync)
            local path = "/v1/apps/web/secrets"
            for _, values in ipairs { { A = "1", B = "1" }, { A = "2" },
                { A = require("dgrun.core.json").null } } do
                local status, answer = fly.call("POST", path, { values = values })
                assert.equal(200, status)
                local e = execute(function() cron.verify(crons.options(fly)) end).error
                assert.matches("does not have the app's current secrets", e.msg)
                assert.same({ "fly.machine.update" }, kinds(done(sync())))
                assert.is_true(answer.version <= tonumber(
                    crons.job(fly).config.metadata.dgrun_secrets))
                fly.wait(crons.job(fly).id, "stopped")
                done(execute(function() cron.verify(crons.options(fly)) end))
                assert.same({}, kinds(done(sync())))
            end
        end)
    end)
end)

describe("a tick that runs", function()
    local slow = { running = true, behaviour = { seconds = 3600 } }

    it("is waited for, and then the machine is updated", function()
        with_job(function(fly, _, sync)
            local id = crons.job(fly).id
            fly.wait(id, "started")
            crons.config(fly, { command = "another" })
            local opts = crons.options(fly, { when_running = { wait = "20s" } })
            local record
            task.all {
                function() record = done(sync(opts)) end,
                function()
                    fly.until_true(function()
                        local current = require("dgrun.run").current()
                        return current and notes(current):find("waiting up to", 1, true)
                    end)
                    -- The tick ends.
                    assert.equal(200, (fly.call("POST", ("/v1/apps/web/machines/%s/signal")
                        :format(id), { signal = "SIGTERM" })))
                end,
            }
            assert.same({ "another" }, fly.get(id).config.init.cmd)
            assert.is_nil(record.value[1].skipped)
        end, slow)
    end)

    it("is left alone when it takes too long, with a second chance later", function()
        with_job(function(fly, execute, sync)
            local id = crons.job(fly).id
            fly.wait(id, "started")
            crons.config(fly, { command = "another" })
            local record = done(sync())
            assert.same({}, kinds(record))
            assert.equal("tick", record.value[1].skipped)
            assert.matches("is still running its job; leaving the machine unchanged", notes(record))
            local function settle(opts)
                return execute(function()
                    return cron.settle(opts or crons.options(fly))
                end)
            end
            assert.equal("tick", done(settle()).value[1].skipped)
            assert.equal("cron.drift", execute(function()
                local opts = crons.options(fly)
                opts.wait = 0
                cron.verify(opts)
            end).error.code)
            fly.call("POST", ("/v1/apps/web/machines/%s/signal"):format(id),
                { signal = "SIGTERM" })
            local opts = crons.options(fly)
            opts.wait = "20s"
            assert.same({ "fly.machine.update" }, kinds(done(settle(opts))))
            assert.same({ "another" }, fly.get(id).config.init.cmd)
            -- Nothing to settle: not a word.
            local quiet = done(settle(opts))
            assert.same({}, kinds(quiet))
            assert.equal("", notes(quiet))
        end, slow)
    end)

    it("that begins while the lease is waited for is not cut off either", function()
        with_job(function(fly, _, sync)
            local id = crons.job(fly).id
            local lease = "/v1/apps/web/machines/" .. id .. "/lease"
            local _, held = fly.call("POST", lease .. "?ttl=60")
            fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/behaviour"):format(id),
                { seconds = 3600 })
            crons.config(fly, { command = "another" })
            local record
            task.all {
                function()
                    record = done(sync(crons.options(fly, { when_running = { wait = "1s" } })))
                end,
                function()
                    fly.until_true(function()
                        local _, seen = fly.call("GET", "/sandbox/v1/requests")
                        for _, request in ipairs(seen.requests) do
                            if request.path:find("/lease") and request.status == 409 then
                                return true
                            end
                        end
                    end)
                    fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/tick"):format(id))
                    fly.wait(id, "started")
                    fly.call("DELETE", lease, nil, { nonce = held.data.nonce })
                end,
            }
            assert.equal("tick", record.value[1].skipped)
            assert.same({ "run", "the", "job" }, fly.get(id).config.init.cmd)
            assert.equal("started", fly.get(id).state)
        end)
    end)

    it("is waited for of several machines side by side", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a, { seconds = 7200 })
            local opts = crons.options(fly, { when_running = { wait = 600 } })
            for i = 2, 5 do
                opts.crons[i] = { name = "job-" .. i, config = "cron.toml", schedule = "daily",
                    when_running = { wait = 600 } }
            end
            done(execute(function() cron.sync(opts) end))
            for _, machine in ipairs(crons.machines(fly)) do
                fly.wait(machine.id, "started")
            end
            crons.config(fly, { command = "another" })
            local record = done(execute(function() return cron.sync(opts) end))
            for _, result in ipairs(record.value) do
                assert.equal("tick", result.skipped)
            end
            -- Ten minutes of the paused clock for all of them, not for each.
            assert.is_true(record.seconds >= 600 and record.seconds < 1200,
                tostring(record.seconds))
        end)
    end)
end)

describe("an update of a cron machine", function()
    it("that was cut off before the start is brought to its end", function()
        with_job(function(fly, execute, sync)
            local machine = crons.job(fly)
            crons.config(fly, { command = "another" })
            fly.fault { method = "POST", path = "/start$", status = 500, times = 100 }
            local e = sync().error
            assert.equal("fly.server", e.code)
            assert.matches("its schedule is paused until it starts", e.hint)
            fly.call("DELETE", "/sandbox/v1/faults")
            assert.equal(1, starts(fly.get(machine.id)))
            e = execute(function() cron.verify(crons.options(fly)) end).error
            assert.matches("has not been started since its last update", e.msg)
            assert.same({ "fly.machine.start" }, kinds(done(sync())))
            fly.wait(machine.id, "stopped")
            assert.equal(2, starts(fly.get(machine.id)))
            done(execute(function() cron.verify(crons.options(fly)) end))
        end)
    end)

    it("starts it again where Fly first refuses to", function()
        with_job(function(fly, _, sync)
            crons.config(fly, { command = "another" })
            fly.fault { method = "POST", path = "/start$", status = 412, times = 2 }
            done(sync())
            assert.equal(2, starts(fly.wait(crons.job(fly).id, "stopped")))
        end)
    end)

    it("survives lost answers", function()
        with_job(function(fly, _, sync)
            local id = crons.job(fly).id
            crons.config(fly, { command = "another" })
            fly.fault { method = "POST", path = "/machines/" .. id .. "$", when = "after",
                reset = true }
            fly.fault { method = "POST", path = "/start$", when = "after", reset = true }
            done(sync())
            assert.equal(2, starts(fly.wait(id, "stopped")))
            assert.same({ "another" }, crons.job(fly).config.init.cmd)
        end)
    end)

    it("of one that fails does not leave the others undone", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            fly.register(crons.image_b, { seconds = 3600 })
            local opts = crons.options(fly, { when_running = { wait = 0.2, ["then"] = "fail" } })
            opts.crons[2] = { name = "other", config = "cron.toml", schedule = "daily" }
            done(execute(function() cron.sync(opts) end))
            local by_name = {}
            for _, machine in ipairs(crons.machines(fly)) do
                by_name[machine.name] = fly.wait(machine.id, "stopped")
            end
            fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/behaviour"):format(
                by_name.job.id), { seconds = 3600 })
            fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/tick"):format(by_name.job.id))
            fly.wait(by_name.job.id, "started")
            crons.config(fly, { command = "another" })
            local record = execute(function() return cron.sync(opts) end)
            assert.equal("cron.busy", record.error.code)
            local other = fly.wait(by_name.other.id, "stopped")
            assert.same({ "another" }, other.config.init.cmd)
            assert.equal(2, starts(other))
        end)
    end)
end)

describe("machines that are there twice or that nobody declares", function()
    local function extras(fly)
        local twin = fly.create { name = "twin", config = { image = crons.image_a,
            schedule = "hourly", metadata = { dgrun_cron = "job" } } }
        local stray = fly.create { name = "old-job", config = { image = crons.image_a,
            schedule = "daily" } }
        local former = fly.create { name = "former", skip_launch = true,
            config = { image = crons.image_a, metadata = { dgrun_cron = "former" } } }
        local managed = fly.create { name = "web-1", config = { image = crons.image_a,
            schedule = "daily", metadata = { fly_platform_version = "v2" } } }
        local plain = fly.create { name = "plain", config = { image = crons.image_a } }
        for _, machine in ipairs { twin, stray, former, managed, plain } do
            fly.wait(machine.id, "stopped")
        end
        return twin, stray, former
    end

    it("are told, and removed on request only", function()
        with_job(function(fly, execute, sync)
            local job = crons.job(fly)
            local twin, stray, former = extras(fly)
            local record = done(sync())
            assert.same({}, kinds(record))
            local told = notes(record)
            assert.matches(twin.id .. " .twin, hourly. is a duplicate of job", told)
            assert.matches(stray.id .. " .old%-job, daily. is not declared", told)
            assert.matches(former.id .. " .former, no schedule. is not declared", told)
            assert.is_nil(told:find("web-1", 1, true))
            assert.is_nil(told:find("plain", 1, true))

            local verified = execute(function() cron.verify(crons.options(fly)) end)
            assert.matches("job: machine " .. twin.id .. " runs the same job", verified.error.msg)
            assert.matches("old%-job", notes(verified))

            local opts = crons.options(fly)
            opts.prune = true
            local three = { "fly.machine.destroy", "fly.machine.destroy", "fly.machine.destroy" }
            assert.same(three, kinds(done(sync(opts, true))))
            assert.same(three, kinds(done(sync(opts))))
            local left = {}
            fly.until_true(function()
                left = {}
                for _, machine in ipairs(crons.machines(fly)) do
                    left[#left + 1] = machine.name
                end
                return #left == 3
            end)
            table.sort(left)
            assert.same({ "job", "plain", "web-1" }, left)
            assert.equal(job.id, fly.get(job.id).id)
            done(execute(function() cron.verify(crons.options(fly)) end))
        end)
    end)

    it("are removed one at a time, by name or id", function()
        with_job(function(fly, execute)
            local twin, stray = extras(fly)
            local opts = crons.options(fly)
            local function remove(word)
                return execute(function()
                    return cron.remove { app = "web", machine = word, crons = opts.crons }
                end)
            end
            assert.equal("refused.declared", remove("job").error.code)
            assert.equal("input.unknown_machine", remove("nosuch").error.code)
            assert.equal("input.unknown_machine", remove("plain").error.code)
            assert.matches("old%-job %(" .. stray.id, remove("nosuch").error.hint)
            assert.equal(twin.id, done(remove(twin.id)).value.id)
            assert.equal(stray.id, done(remove("old-job")).value.id)
            fly.until_true(function() return fly.get(stray.id).state == "destroyed" end)
        end)
    end)
end)

describe("what is declared wrongly is refused:", function()
    local function refused(opts, code)
        local e
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            local given = opts(fly)
            e = execute(function() cron.sync(given) end).error
            assert.equal(code, e and e.code)
            assert.same({}, crons.machines(fly))
        end)
        return e
    end

    it("schedules that Fly does not have", function()
        local e = refused(function(fly) return crons.options(fly, { schedule = "0 * * * *" }) end,
            "cron.invalid_schedule")
        assert.matches("job: the schedule must be hourly, daily, weekly or monthly", e.msg)
        assert.matches("Write hourly", e.hint)
    end)

    it("two of one name", function()
        refused(function(fly)
            local opts = crons.options(fly)
            opts.crons[2] = opts.crons[1]
            return opts
        end, "cron.declared_twice")
    end)

    it("a file without a command, or with several", function()
        local e = refused(function(fly)
            assert(require("host.fs").write(fly.dir / "cron.toml", 'primary_region = "ewr"\n'))
            return crons.options(fly)
        end, "cron.config")
        assert.matches("a second web server", e.msg)
        e = refused(function(fly)
            assert(require("host.fs").write(fly.dir / "cron.toml",
                '[processes]\na = "x"\nb = "y"\n'))
            return crons.options(fly)
        end, "cron.config")
        assert.matches("process groups a and b", e.msg)
    end)

    it("an unknown outcome, option, or duration", function()
        for _, case in ipairs {
            { { when_running = { ["then"] = "skp" } }, "input.invalid" },
            { { when_running = { wait = "soon" } }, "input.invalid" },
            { { when_runing = {} }, "input.unknown_option" },
        } do
            refused(function(fly) return crons.options(fly, case[1]) end, case[2])
        end
    end)

    it("a name that a machine of a deploy has", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            fly.create { name = "job", config = { image = crons.image_a,
                metadata = { fly_platform_version = "v2", fly_process_group = "app" } } }
            local e = execute(function() cron.sync(crons.options(fly)) end).error
            assert.equal("cron.name_taken", e.code)
        end)
    end)
end)
