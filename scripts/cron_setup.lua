local dg = require "dgrun"
local environments = { stage = dg.environment "stage", prod = dg.environment "prod" }

return dg.pipeline {
    description = "Create or update the cron machines of an environment",
    inputs = {
        environment = {
            type = "choice", choices = { "stage", "prod" }, required = true,
            help = "environment of the cron machines",
        },
        ref = { default = "main", help = "git ref with the fly.cron*.toml files" },
        prune = {
            type = "boolean", default = false,
            help = "remove duplicate and undeclared cron machines",
        },
    },
    -- Never runs during a deploy of the same app.
    concurrency = {
        group = function(input) return environments[input.environment].app end,
    },

    run = function(input)
        local env = environments[input.environment]
        local source = dg.step("Checkout", function()
            return dg.git.checkout { ref = input.ref }
        end)
        -- The image and the database stay unchanged.
        dg.step("Preflight", function()
            return dg.preflight {
                environment = env, source = source, config = false, migrations = false,
            }
        end)
        local image = dg.step("Image", function() return dg.cron.image { app = env.app } end)
        dg.step("Cron", function()
            return dg.cron.sync {
                environment = env, source = source, image = image, prune = input.prune,
            }
        end)
        dg.step("Verify", function()
            return dg.verify { environment = env, source = source, image = image, probes = {} }
        end)
    end,
}
