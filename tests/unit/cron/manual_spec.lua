local cron = require "dgrun.cron"
local crons = require "support.crons"
local fly_run = require "support.fly_run"
local run = require "dgrun.run"
local task = require "dgrun.core.task"

local done, kinds, notes = crons.done, fly_run.kinds, crons.notes

---With a job that has ticked, on an image that behaves so.
local function with_job(body, behaviour)
    fly_run.with(function(fly, execute)
        fly.register(crons.image_a, behaviour)
        done(execute(function() cron.sync(crons.options(fly)) end))
        local job = crons.job(fly)
        if not (behaviour and (behaviour.seconds or 0) > 1) then
            job = fly.wait(job.id, "stopped")
        end
        local function run_now(more, plan)
            return execute(function()
                local opts = { app = "web", name = "job" }
                for name, value in pairs(more or {}) do
                    opts[name] = value
                end
                return cron.run_now(opts)
            end, plan)
        end
        body(fly, run_now, job, execute)
    end)
end

---The one-off machines that are there or were a moment ago.
local function copies(fly)
    local _, list = fly.call("GET", "/v1/apps/web/machines?include_deleted=true")
    local found = {}
    for _, machine in ipairs(list) do
        found[#found + 1] = machine.config.metadata.dgrun_job and machine or nil
    end
    return found
end

describe("cron.run_now", function()
    it("runs the job on a copy, follows its log and returns its exit code", function()
        with_job(function(fly, run_now, job)
            local lines = {}
            local record = done(run_now { on_line = function(line) lines[#lines + 1] = line end })
            assert.equal(7, record.value.exit_code)
            assert.matches("three items", table.concat(lines, "\n"))
            assert.same({ "fly.machine.run" }, kinds(record))
            local copy = copies(fly)[1]
            assert.equal(record.value.machine, copy.id)
            assert.is_nil(copy.config.schedule)
            assert.is_true(copy.config.auto_destroy)
            assert.equal("no", copy.config.restart.policy)
            for _, name in ipairs { "env", "init", "guest" } do
                assert.same(job.config[name], copy.config[name])
            end
            assert.equal(job.image_ref.digest, copy.image_ref.digest)
            assert.equal("destroyed", copy.state)
            -- The cron machine itself is as it was.
            assert.equal(job.events[1].id, fly.get(job.id).events[1].id)
        end, { exit_code = 7, log = { "three items" } })
    end)

    it("is one effect in a plan, and runs nothing", function()
        with_job(function(fly, run_now)
            local record = done(run_now(nil, true))
            assert.same({ "fly.machine.run" }, kinds(record))
            assert.equal("run job once, on a separate machine: run the job",
                record.effects[1].summary)
            assert.same({}, copies(fly))
        end)
    end)

    it("is destroyed when it takes longer than it may", function()
        with_job(function(fly, run_now)
            local e = run_now({ timeout = 0.3, beside = true }).error
            assert.equal("cron.run_timeout", e.code)
            fly.until_true(function() return copies(fly)[1].state == "destroyed" end)
        end, { seconds = 3600 })
    end)

    it("does not run beside a tick, unless it is told to", function()
        with_job(function(fly, run_now, job)
            fly.wait(job.id, "started")
            assert.equal("refused.cron_running", run_now().error.code)
            assert.same({}, copies(fly))
        end, { seconds = 3600 })
    end)

    it("names the machines there are when there is none of that name", function()
        with_job(function(_, run_now)
            local e = run_now({ name = "jab" }).error
            assert.equal("cron.no_machine", e.code)
            assert.equal("Did you mean 'job'?", e.hint)
        end)
    end)

    it("follows one that runs already instead of starting another", function()
        with_job(function(fly, run_now, job)
            fly.call("POST", ("/sandbox/v1/apps/web/machines/%s/behaviour"):format(job.id), {})
            local config = fly.get(job.id).config
            config.schedule, config.metadata = nil, { dgrun_job = "job", dgrun_job_of = "other" }
            config.auto_destroy, config.restart = true, { policy = "no" }
            local first = fly.create { config = config }
            fly.wait(first.id, "started")
            local record
            task.all {
                function() record = done(run_now { beside = true }) end,
                function()
                    fly.until_true(function()
                        local current = run.current()
                        return current and notes(current):find("is already running", 1, true)
                    end)
                    fly.call("POST", ("/v1/apps/web/machines/%s/signal"):format(first.id),
                        { signal = "SIGTERM" })
                end,
            }
            assert.equal(first.id, record.value.machine)
            assert.equal(0, record.value.exit_code)
            assert.equal(1, #copies(fly))
        end, { seconds = 3600 })
    end)

    it("removes what a killed run had created and not started", function()
        with_job(function(fly, run_now, job)
            local left = fly.create { skip_launch = true, config = { image = crons.image_a,
                metadata = { dgrun_job = "job", dgrun_job_of = "killed" } } }
            fly.wait(left.id, "stopped")
            local record = done(run_now())
            assert.are_not.equal(left.id, record.value.machine)
            fly.until_true(function() return fly.get(left.id).state == "destroyed" end)
            assert.equal("stopped", fly.get(job.id).state)
        end)
    end)

    it("runs twice in one run when it is called twice", function()
        with_job(function(fly, _, _, execute)
            local record = done(execute(function()
                return { cron.run_now { app = "web", name = "job" },
                    cron.run_now { app = "web", name = "job" } }
            end))
            assert.are_not.equal(record.value[1].machine, record.value[2].machine)
            assert.equal(2, #copies(fly))
        end)
    end)
end)

describe("cron.update_image", function()
    it("brings the image of the web machines, and nothing else", function()
        with_job(function(fly, _, job, execute)
            fly.register(crons.image_b)
            local web = fly.create { config = { image = crons.image_b, metadata = {
                fly_platform_version = "v2", fly_process_group = "app" } } }
            fly.wait(web.id, "stopped")
            crons.config(fly, { command = "another" })
            local function update()
                return execute(function()
                    return cron.update_image { app = "web", crons = crons.options(fly).crons }
                end)
            end
            assert.same({ "fly.machine.update" }, kinds(done(update())))
            local machine = fly.wait(job.id, "stopped")
            assert.equal(web.image_ref.digest, machine.image_ref.digest)
            assert.same({ "run", "the", "job" }, machine.config.init.cmd)
            assert.equal(2, crons.starts(machine))
            local again = done(update())
            assert.same({}, kinds(again))
            assert.matches("job already has this image", notes(again))
        end)
    end)

    it("asks for one image where the web machines run two", function()
        with_job(function(fly, _, _, execute)
            fly.register(crons.image_b)
            for _, image in ipairs { crons.image_a, crons.image_b } do
                fly.create { config = { image = image, metadata = {
                    fly_platform_version = "v2", fly_process_group = "app" } } }
            end
            local e = execute(function() cron.image { app = "web" } end).error
            assert.equal("cron.several_images", e.code)
        end)
    end)
end)

describe("the gate of a declaration", function()
    local function with(body, behaviour)
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a, behaviour)
            body(fly, function(when, plan, more)
                local opts = crons.options(fly, { when = when })
                for name, value in pairs(more or {}) do
                    opts[name] = value
                end
                return execute(function() return cron.sync(opts) end, plan)
            end, execute)
        end)
    end

    local ready = { commands = { ["python -m app.ready"] = { exit_code = 3 } } }

    local function asks(gate)
        return gate.run { "python", "-m", "app.ready" } == 0, "it is not ready"
    end

    it("may run a command as the cron machine would be", function()
        with(function(fly, sync, execute)
            local record = done(sync(asks))
            assert.same({ "fly.machine.run" }, kinds(record))
            assert.equal("gate", record.value[1].skipped)
            assert.matches("job is not created yet: its gate refused: it is not ready",
                notes(record))
            assert.same({}, crons.machines(fly))
            local gate = copies(fly)[1]
            assert.same({ "python", "-m", "app.ready" }, gate.config.init.cmd)
            assert.equal("x", gate.config.env.NAME)
            assert.equal(512, gate.config.guest.memory_mb)
            local function verify(optional)
                return execute(function()
                    cron.verify(crons.options(fly, { when = asks, optional = optional }))
                end)
            end
            assert.matches("its gate may have refused to create it", verify().error.msg)
            done(verify(true))

            fly.register("registry.fly.io/web:b")
            local created = done(sync(asks, false, { image = crons.image_b }))
            assert.same({ "fly.machine.run", "fly.machine.create" }, kinds(created))
        end, ready)
    end)

    it("is not asked when the machine is there", function()
        with(function(fly, sync)
            done(sync(function() return true end))
            fly.wait(crons.job(fly).id, "stopped")
            crons.config(fly, { command = "another" })
            local record = done(sync(function() error "asked" end))
            assert.same({ "fly.machine.update" }, kinds(record))
        end)
    end)

    it("is not asked in a plan, which says so", function()
        with(function(fly, sync)
            local record = done(sync(function() error "asked" end, true))
            assert.equal("create the cron machine job, hourly, if its gate allows it",
                record.effects[1].summary)
            assert.same({}, crons.machines(fly))
        end)
    end)

    it("that fails fails the run", function()
        with(function(fly, sync)
            local e = sync(function() error "no database" end).error
            assert.matches("no database", e.msg)
            assert.same({}, crons.machines(fly))
        end)
    end)
end)
