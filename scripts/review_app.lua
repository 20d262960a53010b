-- An app for each pull request, from the template `review` in environments.yaml. In a workflow:
--
--   on: pull_request: { types: [opened, synchronize, reopened, closed] }
--   run: dgrun review_app deploy --pr ${{ github.event.number }} --ref ${{ github.sha }}
--   run: dgrun review_app destroy --pr ${{ github.event.number }}      # when closed
--
-- and once a night: dgrun review_app sweep --older 7d. The token must be an organization token.
local dg = require "dgrun"

---The database of an app: a schema on the PostgreSQL server in the private secret REVIEW_DATABASES,
---with a role that can see nothing else. For branches of a hosted database, see dg.review.hosted.
local function database(app, env)
    return dg.review.databases { server = env.secrets.REVIEW_DATABASES, as = "schema" } (app)
end

local function group(input)
    return dg.review.app(input.pr)
end

local pr = { type = "integer", required = true, help = "number of the pull request" }

local deploy = dg.pipeline {
    description = "Create or update the app of a pull request",
    inputs = {
        pr = pr,
        ref = { default = "HEAD", help = "git SHA, tag or branch" },
        image = { help = "deploy this image instead of building one" },
    },
    concurrency = { group = group, when_busy = "supersede" },

    run = function(input)
        local env = dg.review.environment { pr = input.pr }
        local source = dg.step("Checkout", function()
            return dg.git.checkout { ref = input.ref }
        end)
        dg.step("Preflight", function()
            return dg.preflight { environment = env, source = source, image = input.image }
        end)
        dg.step("App", function() return dg.review.create { environment = env } end)
        dg.step("Database and secrets", function()
            local url = database(env.app, env).create()
            return dg.secrets.sync {
                app = env.app, secrets = dg.review.secrets(env, { DATABASE_URL = url }),
            }
        end)
        -- The release command of fly.toml migrates the database.
        dg.step("Deploy", function()
            return dg.fly.deploy {
                environment = env, source = source, image = input.image, ha = false,
            }
        end)
        dg.step("Verify", function() return dg.verify { environment = env } end)
        dg.output { app = env.app, url = env.url }
    end,
}

local destroy = dg.pipeline {
    description = "Destroy the app of a pull request and its database",
    inputs = { pr = pr },
    concurrency = { group = group, when_busy = "supersede" },

    run = function(input)
        dg.step("Destroy", function()
            return dg.review.destroy {
                environment = dg.review.environment { pr = input.pr, lazy = true },
                database = database,
            }
        end)
    end,
}

local sweep = dg.pipeline {
    description = "Destroy review apps that are no longer needed",
    inputs = {
        older = { type = "seconds", help = "apps not deployed for this long, such as 7d" },
        open = { help = "apps whose pull request is not in this list: 12,15, or none" },
    },
    concurrency = { group = "review apps", when_busy = "fail" },

    run = function(input)
        dg.step("Sweep", function()
            return dg.review.sweep {
                older = input.older, open = input.open, database = database,
            }
        end)
    end,
}

return dg.command {
    description = "Manage an app for each pull request",
    default = "list",
    actions = {
        deploy = deploy, destroy = destroy, sweep = sweep,
        list = {
            description = "List review apps with their age; --older and --open select orphans",
            read_only = true,
            inputs = {
                older = { type = "seconds", help = "only apps not deployed for this long" },
                open = { help = "only apps whose pull request is not in this list: 12,15" },
            },
            run = function(input)
                if input.older or input.open then
                    return dg.review.strays { older = input.older, open = input.open }
                end
                return dg.review.list()
            end,
            show = function(apps) return dg.ui.review.text(apps) end,
        },
    },
}
