local dg = require "dgrun"
local place_of = require "dgrun.place"

return dg.pipeline {
    description = "Go back to an earlier release: its image and its configuration",
    arguments = {
        { name = "where", complete = "place", required = true,
            help = "an environment, or its app" },
    },
    inputs = {
        to = {
            type = "integer", complete = "release",
            help = "version of the release; else the last one with another image",
        },
        despite_database = {
            help = "why the old image can live with what the database has learned since",
        },
    },
    concurrency = { group = function(input) return input.where.app end, when_busy = "wait" },

    run = function(input)
        local app, env = input.where.app, input.where.environment
        -- A step of its own: once it went back, the one before is another.
        local target = dg.step("Choose", function()
            return dg.fly.rollback_target { app = app, to = input.to }
        end)

        -- Refused where the database has revisions that the old image cannot live with.
        local release = dg.step("Roll back", function()
            return dg.fly.rollback {
                app = app, to = target.version,
                database = place_of.secret(input.where, "DATABASE_URL"),
                despite_database = input.despite_database,
            }
        end)

        if env and target.commit then
            dg.step("Cron", function()
                local source = dg.git.checkout { ref = target.commit }
                return dg.cron.sync {
                    app = app, crons = env.crons, dir = source.dir, image = release.image,
                }
            end)
        end
        if env and env.url then
            dg.step("Verify", function()
                dg.probe.http { url = env.url / "health", expect = 200, within = 60 }
            end)
        end
    end,
}
