local dg = require "dgrun"
local env = dg.environment "stage"

return dg.pipeline {
    description = "Deploy a git ref to staging",
    inputs = {
        ref = { default = "main", help = "git SHA, tag or branch" },
        image = { help = "deploy this image instead of building one" },
        allow_older = {
            type = "boolean", default = false,
            help = "deploy even if staging runs a newer commit",
        },
    },
    concurrency = { group = env.app, when_busy = "supersede" },

    run = function(input)
        local source = dg.step("Checkout", function()
            return dg.git.checkout { ref = input.ref }
        end)
        local where = { environment = env, source = source }
        local function sync_secrets()
            return dg.secrets.sync { environment = env, apply = true }
        end

        dg.step("Preflight", function()
            return dg.preflight { environment = env, source = source, image = input.image }
        end)
        dg.fly.refuse_older { environment = env, source = source, unless = input.allow_older }

        dg.step("Migrate", function() return dg.migrations.upgrade(where) end)
        -- An app does not start without its secrets, so the first deploy sets them before.
        local first = not dg.fly.deployed(env.app)
        if first then
            dg.step("Secrets", sync_secrets)
        end
        local release = dg.step("Deploy", function()
            return dg.fly.deploy { environment = env, source = source, image = input.image }
        end)
        if not first then
            dg.step("Secrets", sync_secrets)
        end
        where.image = release.image
        dg.step("Cron", function() return dg.cron.sync(where) end)
        dg.step("Verify", function() return dg.verify(where) end)
    end,
}
