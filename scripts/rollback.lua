local dg = require "dgrun"
local target_of = require "dgrun.project.target"

return dg.pipeline {
    description = "Restore the image and configuration of an earlier release",
    arguments = {
        { name = "where", complete = "target", required = true,
            help = "an environment, or its app" },
    },
    inputs = {
        to = {
            type = "integer", complete = "release",
            help = "version of the release (default: the last release with another image)",
        },
        despite_database = {
            help = "why the old image works with the newer database revisions",
        },
    },
    concurrency = { group = function(input) return input.where.app end, when_busy = "wait" },

    run = function(input)
        local app, env = input.where.app, input.where.environment
        -- A separate step, because the rollback changes which release is the previous release.
        local target = dg.step("Choose", function()
            return dg.fly.rollback_target { app = app, to = input.to }
        end)

        local source
        if env and target.commit then
            source = dg.step("Checkout", function()
                return dg.git.checkout { ref = target.commit }
            end)
            -- The release has its image and fly.toml; cron machines have separate files.
            dg.step("Preflight", function()
                return dg.preflight {
                    environment = env, source = source, config = false, migrations = false,
                }
            end)
        end

        -- Refused when the database has revisions that the old image does not support.
        local release = dg.step("Roll back", function()
            return dg.fly.rollback {
                app = app, environment = env, to = target.version,
                database = target_of.secret(input.where, "DATABASE_URL"),
                despite_database = input.despite_database,
            }
        end)

        if source then
            dg.step("Cron", function()
                return dg.cron.sync { environment = env, source = source, image = release.image }
            end)
        end
        if env then
            dg.step("Verify", function()
                return dg.verify {
                    environment = env, source = source, image = release.image,
                    crons = not source and {} or nil,
                }
            end)
        end
    end,
}
