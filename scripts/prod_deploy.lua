local dg = require "dgrun"
local env = dg.environment "prod"

return dg.pipeline {
    description = "Deploy a git ref to production",
    inputs = {
        ref = { default = "main", help = "git SHA, tag or branch" },
        image = { help = "deploy this image instead of building one" },
        allow_older = {
            type = "boolean", default = false,
            help = "deploy even if production runs a newer commit",
        },
    },
    concurrency = { group = env.app, when_busy = "wait" },

    run = function(input)
        local source = dg.step("Checkout", function()
            return dg.git.checkout { ref = input.ref }
        end)

        dg.fly.refuse_older { app = env.app, commit = source.commit, unless = input.allow_older }

        dg.step("Migrate", function()
            return dg.migrations.upgrade {
                dir = source.dir, database = env.secrets.DATABASE_URL, lock_timeout = "10s",
            }
        end)
        dg.step("Secrets", function()
            return dg.secrets.sync { app = env.app, secrets = env.secrets }
        end)
        local release = dg.step("Deploy", function()
            return dg.fly.deploy {
                app = env.app, config = source.dir / env.config, commit = source.commit,
                image = input.image,
            }
        end)
        local crons = {
            app = env.app, crons = env.crons, dir = source.dir, image = release.image,
        }
        dg.step("Cron", function() return dg.cron.sync(crons) end)
        dg.step("Verify", function()
            dg.probe.http { url = env.url / "health", expect = 200, within = 60 }
            -- A second chance for those that were in the middle of a tick.
            dg.cron.settle(crons)
            dg.cron.verify(crons)
        end)
    end,
}
