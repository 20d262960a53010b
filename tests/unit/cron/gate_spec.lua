-- Cron machines that are created under a condition of environments.yaml.
local cron = require "dgrun.cron"
local crons = require "support.crons"
local environment = require "dgrun.project.environment"
local fly_run = require "support.fly_run"
local fs = require "host.fs"

local YAML = [[
environments:
  prod:
    app: web
    secrets: { literal: { WORD: let-me-in } }
    crons:
      - { name: job, config: cron.toml, schedule: hourly, %s }
]]

---@param condition string of the cron machine in environments.yaml
---@param body fun(fly: table, sync: fun(how?: {plan?: boolean, input?: table}): table, env: table)
local function with(condition, body)
    fly_run.with(function(fly, execute)
        fly.register(crons.image_a)
        crons.config(fly)
        assert(fs.write(fly.dir / "environments.yaml", YAML:format(condition)))
        environment.look_from(fly.dir)
        local env = environment.get "prod"
        local function run(verb, how)
            how = how or {}
            return execute(function()
                if how.input then
                    require("dgrun.run").current().input = how.input
                end
                return verb { app = "web", crons = env.crons, dir = fly.dir,
                    image = crons.image_a }
            end, how.plan)
        end
        body(fly, function(how) return run(cron.sync, how) end,
            function() return run(cron.verify) end)
    end)
end

local function done(record)
    assert.equal("done", record.status, tostring(record.error))
    return record
end

local notes = crons.notes

describe("create: false", function()
    it("never creates a machine, and keeps one up to date", function()
        with("create: false", function(fly, sync, verify)
            local record = done(sync())
            assert.same({}, record.effects)
            assert.matches("job is not created: dgrun only updates it (create: false)",
                notes(record), 1, true)
            assert.same({}, crons.machines(fly))
            assert.matches("0 cron machines match, 1 not created (gated)", notes(done(verify())),
                1, true)

            fly.create { name = "job", config = { image = crons.image_a, schedule = "hourly",
                init = { cmd = { "old" } } } }
            assert.equal("update the cron machine job", done(sync()).effects[1].summary)
        end)
    end)
end)

describe("a gate", function()
    it("opens by an input of the pipeline", function()
        with("gate: { input: draft_crons }", function(fly, sync, verify)
            assert.matches("job is not created: this pipeline has no input --draft-crons",
                notes(done(sync())), 1, true)
            assert.matches("job is not created: without --draft-crons",
                notes(done(sync { input = { draft_crons = false } })), 1, true)
            assert.matches("1 not created (gated)", notes(done(verify())), 1, true)
            assert.same({}, crons.machines(fly))
            assert.equal("create the cron machine job, hourly",
                done(sync { input = { draft_crons = true }, plan = true }).effects[1].summary)
            done(sync { input = { draft_crons = true } })
            assert.equal(1, #crons.machines(fly))
            -- Once it exists, nothing is asked.
            crons.config(fly, { command = "another" })
            assert.equal("update the cron machine job", done(sync()).effects[1].summary)
        end)
    end)

    it("opens by a command with the environment's secrets, which a plan asks too", function()
        with([[gate: { command: [sh, -c, 'echo asked; test "$WORD" = let-me-in -a -e ready'] }]],
            function(fly, sync)
                for _, plan in ipairs { true, false } do
                    local record = done(sync { plan = plan })
                    assert.same({}, record.effects)
                    assert.matches("job is not created: sh %-c .* ended with status 1",
                        notes(record))
                end
                assert(fs.write(fly.dir / "ready", ""))
                assert.equal(1, #done(sync { plan = true }).effects)
                assert.same({}, crons.machines(fly))
                done(sync())
                assert.equal(1, #crons.machines(fly))
            end)
    end)

    it("does not ask its command without its input", function()
        with("gate: { input: go, command: [touch, asked] }", function(fly, sync)
            done(sync { input = { go = false } })
            assert.is_false(fs.exists(fly.dir / "asked"))
            done(sync { input = { go = true } })
            assert.is_true(fs.exists(fly.dir / "asked"))
            assert.equal(1, #crons.machines(fly))
        end)
    end)

    it("whose command is not there fails the run", function()
        with("gate: { command: [no-such-program] }", function(_, sync)
            local record = sync()
            assert.equal("failed", record.status)
            assert.matches("no%-such%-program", tostring(record.error))
        end)
    end)
end)

describe("a machine that flyctl made", function()
    it("matches when entrypoint and command together are the declared command", function()
        with("optional: false", function(fly, sync)
            done(sync())
            local machine = crons.job(fly)
            fly.wait(machine.id, "stopped")
            local config = machine.config
            config.init = { entrypoint = { "run" }, cmd = { "the", "job" } }
            fly.call("POST", "/v1/apps/web/machines/" .. machine.id, { config = config })
            fly.wait(machine.id, "stopped")
            for _, effect in ipairs(done(sync()).effects) do
                assert.equal("start the cron machine job, not started since its update",
                    effect.summary)
            end
        end)
    end)

    it("that was left stopped: a plan says that it is started", function()
        with("optional: false", function(fly, sync)
            done(sync())
            local machine = crons.job(fly)
            fly.wait(machine.id, "stopped")
            fly.call("POST", "/v1/apps/web/machines/" .. machine.id,
                { config = machine.config, skip_launch = true })
            fly.wait(machine.id, "stopped")
            local planned = done(sync { plan = true }).effects
            assert.equal(1, #planned)
            assert.matches("^start the cron machine job", planned[1].summary)
            assert.matches("^start the cron machine job", done(sync()).effects[1].summary)
        end)
    end)
end)
