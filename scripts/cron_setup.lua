local dg = require "dgrun"
local environments = { stage = dg.environment "stage", prod = dg.environment "prod" }

return dg.pipeline {
    description = "Create or update the cron machines of an environment",
    inputs = {
        environment = {
            type = "choice", choices = { "stage", "prod" }, required = true,
            help = "whose cron machines",
        },
        ref = { default = "main", help = "git ref that holds their fly.cron*.toml" },
        prune = {
            type = "boolean", default = false,
            help = "remove cron machines that are there twice or that nobody declares",
        },
    },
    -- Not while a deploy of the same app goes on.
    concurrency = {
        group = function(input) return environments[input.environment].app end,
    },

    run = function(input)
        local env = environments[input.environment]
        local source = dg.step("Checkout", function()
            return dg.git.checkout { ref = input.ref }
        end)
        local image = dg.step("Image", function() return dg.cron.image { app = env.app } end)
        local crons = { app = env.app, crons = env.crons, dir = source.dir, image = image }
        dg.step("Cron", function()
            return dg.cron.sync {
                app = crons.app, crons = crons.crons, dir = crons.dir, image = crons.image,
                prune = input.prune,
            }
        end)
        dg.step("Verify", function() dg.cron.verify(crons) end)
    end,
}
