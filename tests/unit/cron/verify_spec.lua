local cron = require "dgrun.cron"
local crons = require "support.crons"
local fly_run = require "support.fly_run"

local done, notes = crons.done, crons.notes

local function with(body, behaviour)
    fly_run.with(function(fly, execute)
        fly.register(crons.image_a, behaviour)
        local function sync(opts)
            return done(execute(function() return cron.sync(opts or crons.options(fly)) end))
        end
        local function verify(opts, more)
            opts = opts or crons.options(fly)
            for name, value in pairs(more or {}) do
                opts[name] = value
            end
            return execute(function() cron.verify(opts) end)
        end
        body(fly, sync, verify)
    end)
end

---The lines of a verify that failed.
local function wrong(record)
    assert.equal("cron.drift", record.error and record.error.code, tostring(record.error))
    return record.error.drift
end

describe("cron.verify", function()
    it("is content with what sync has left, and waits for the tick to see how it ends", function()
        with(function(fly, sync, verify)
            sync()
            local record = done(verify())
            assert.matches("1 cron machine matches", notes(record))
            assert.equal("stopped", crons.job(fly).state)
        end)
    end)

    it("fails when the tick of the new version dies, with its exit code and its log", function()
        with(function(_, sync, verify)
            sync()
            local e = verify().error
            assert.equal("cron.drift", e.code)
            assert.matches("job: its last job run, %d+s ago, ended with exit code 1", e.msg)
            assert.matches("dgrun --sandbox logs --app web --instance ", e.hint, nil, true)
            local log
            for _, detail in ipairs(e.details) do
                log = log or (detail.title == "log" and table.concat(detail.lines, "\n"))
            end
            assert.matches("No module named app.gone", log)
        end, { exit_code = 1, log = { "No module named app.gone" } })
    end)

    it("names memory as the reason where it is", function()
        with(function(_, sync, verify)
            sync()
            assert.matches("exit code 137, out of memory", wrong(verify())[1])
        end, { exit_code = 137, oom = true })
    end)

    it("does not judge a tick that still runs, nor one of an older version", function()
        with(function(fly, sync, verify)
            sync()
            assert.matches("exit code 1", wrong(verify())[1])
            fly.register(crons.image_b, { seconds = 3600 })
            local opts = crons.options(fly)
            opts.image = crons.image_b
            sync(opts)
            local record = done(verify(opts, { wait = 0.2 }))
            assert.matches("is still running its job; the result is unknown", notes(record))
            assert.equal("started", crons.job(fly).state)
        end, { exit_code = 1 })
    end)

    it("does not count a tick that somebody stopped as one that died", function()
        with(function(fly, sync, verify)
            sync()
            local id = crons.job(fly).id
            fly.wait(id, "started")
            fly.call("POST", ("/v1/apps/web/machines/%s/stop"):format(id))
            fly.wait(id, "stopped")
            done(verify())
        end, { seconds = 3600, stop_seconds = 0 })
    end)

    it("lists each difference, of each machine", function()
        with(function(fly, sync, verify)
            local opts = crons.options(fly)
            opts.crons[2] = { name = "other", config = "cron.toml", schedule = "daily" }
            sync(opts)
            crons.config(fly, { command = "new command", memory = "1gb", region = "ams" })
            fly.register(crons.image_b)
            opts.image = crons.image_b
            opts.crons[2].schedule = "weekly"
            opts.crons[3] = { name = "third", config = "cron.toml", schedule = "daily" }
            local lines = wrong(verify(opts))
            local function has(text)
                for _, line in ipairs(lines) do
                    if line:find(text, 1, true) then
                        return true
                    end
                end
                error(text .. " is not in\n" .. table.concat(lines, "\n"), 2)
            end
            for _, name in ipairs { "job", "other" } do
                has(name .. ": it runs web:a@sha256:")
                has(name .. ": its command is `run the job`, but `new command` is declared")
                has(name .. ": its size is shared-cpu-1x, 512 MB, but shared-cpu-1x, "
                    .. "1024 MB is declared")
                has(name .. ": its environment variables differ: PRIMARY_REGION")
                has(name .. ": it is in ewr, but ams is declared")
            end
            has "other: its schedule is daily, but weekly is declared"
            has "third: it does not exist"
            assert.equal(12, #lines, table.concat(lines, '\n'))
        end)
    end)

    it("excuses absence where that is optional, but never drift", function()
        with(function(fly, sync, verify)
            assert.matches("job: it does not exist", wrong(verify())[1])
            local excused = done(verify(crons.options(fly, { optional = true })))
            assert.matches("job does not exist, which is allowed", notes(excused))
            done(verify(nil, { optional = true }))
            sync()
            crons.config(fly, { command = "another" })
            assert.matches("its command", wrong(verify(crons.options(fly,
                { optional = true })))[1])
            assert.matches("its command", wrong(verify(nil, { optional = true }))[1])
        end)
    end)

    it("sees by the clock of Fly that a tick is overdue", function()
        with(function(fly, sync, verify)
            sync()
            local id = crons.job(fly).id
            fly.wait(id, "stopped")
            fly.advance(3700)
            fly.until_true(function() return crons.starts(fly.get(id)) == 2 end)
            fly.wait(id, "stopped")
            done(verify())
            -- A platform that does not start it: the clock goes on, and nothing ticks.
            local schedules = require "sandbox.schedules"
            local catch_up = schedules.catch_up
            schedules.catch_up = function() return 3600 end
            local ok, e = pcall(function()
                fly.advance(3 * 3600 + 90)
                assert.matches("job: its last job run was 3h 1m ago, but its schedule is hourly",
                    wrong(verify())[1])
            end)
            schedules.catch_up = catch_up
            assert(ok, e)
        end)
    end)

    it("compares images by digest, whatever the tags are", function()
        with(function(fly, sync, verify)
            sync()
            local opts = crons.options(fly)
            local digest = crons.job(fly).image_ref.digest
            for _, image in ipairs { crons.image_a, crons.image_a .. "@" .. digest,
                "registry.fly.io/web:moved@" .. digest, "registry.fly.io/web@" .. digest } do
                opts.image = image
                done(verify(opts))
            end
            opts.image = crons.image_a .. "@sha256:" .. ("0"):rep(64)
            assert.matches("it runs web:a@sha256:%x+, not web:a@sha256:0000",
                wrong(verify(opts))[1])
            -- The tag stands for another image now; the string has not changed.
            opts.image = crons.image_a
            fly.register(crons.image_a, { body = "another" })
            assert.matches("it runs web:a@" .. digest:sub(1, 19) .. ", not web:a@sha256",
                wrong(verify(opts))[1], 1, true)
        end)
    end)

    it("finds nothing to compare in a plan", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            local record = done(execute(function()
                cron.verify(crons.options(fly))
                cron.settle(crons.options(fly))
            end, true))
            assert.same({}, fly_run.kinds(record))
            assert.matches("would verify", notes(record))
        end)
    end)
end)

describe("cron.list", function()
    it("tells of each machine its ticks, its image and what is wrong", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            fly.register(crons.image_b)
            local opts = crons.options(fly)
            opts.crons[2] = { name = "later", config = "cron.toml", schedule = "daily",
                optional = true }
            opts.crons[3] = { name = "lost", config = "nosuch.toml", schedule = "daily" }
            done(execute(function()
                cron.sync { app = "web", dir = fly.dir, image = crons.image_a,
                    crons = { opts.crons[1] } }
            end))
            local job = fly.wait(crons.job(fly).id, "stopped")
            local stray = fly.create { name = "old", config = { image = crons.image_b,
                schedule = "weekly" } }
            fly.wait(stray.id, "stopped")
            -- The web machine runs another image.
            fly.create { config = { image = crons.image_b, metadata = {
                fly_platform_version = "v2", fly_process_group = "app" } } }
            local record = done(execute(function()
                return cron.list { app = "web", dir = fly.dir, crons = opts.crons }
            end))
            local rows, of = record.value, {}
            for _, row in ipairs(rows) do
                of[row.name] = row
            end
            assert.equal(4, #rows)
            assert.equal("declared", of.job.kind)
            assert.equal(job.id, of.job.machine)
            assert.equal(0, of.job.exit_code)
            assert.is_false(of.job.overdue)
            local time = require "host.time"
            assert.equal(3600, time.parse(of.job.next_tick) - time.parse(job.created_at))
            assert.is_string(of.job.last_tick)
            assert.equal("image", of.job.problems[1].field)
            assert.equal("missing", of.later.kind)
            assert.same({}, of.later.problems)
            assert.equal("missing", of.lost.problems[1].kind)
            assert.equal("stray", of.old.kind)
        end)
    end)

    it("tells how old the image is by the release that first had it", function()
        fly_run.with(function(fly, execute)
            fly.register(crons.image_a)
            fly.call("POST", "/api/v1/releases", { app_name = "web", image = crons.image_a,
                strategy = "ROLLING", definition = {}, build_id = 0 })
            done(execute(function() cron.sync(crons.options(fly)) end))
            fly.wait(crons.job(fly).id, "stopped")
            fly.advance(3 * 86400)
            local row = done(execute(function()
                local opts = crons.options(fly)
                return cron.list { app = "web", dir = fly.dir, crons = opts.crons,
                    image = opts.image }
            end)).value[1]
            assert.is_true(row.image_age >= 3 * 86400 and row.image_age < 3 * 86400 + 60)
        end)
    end)
end)
