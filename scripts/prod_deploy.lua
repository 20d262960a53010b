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
        local where = { environment = env, source = source }

        dg.step("Preflight", function()
            return dg.preflight { environment = env, source = source, image = input.image }
        end)
        dg.fly.refuse_older { environment = env, source = source, unless = input.allow_older }

        dg.step("Migrate", function() return dg.migrations.upgrade(where) end)
        dg.step("Secrets", function() return dg.secrets.sync(where) end)
        local release = dg.step("Deploy", function()
            return dg.fly.deploy { environment = env, source = source, image = input.image }
        end)
        where.image = release.image
        dg.step("Cron", function() return dg.cron.sync(where) end)
        dg.step("Verify", function() return dg.verify(where) end)
    end,
}
