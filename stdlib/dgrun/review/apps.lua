-- The app of a pull request: created, marked, destroyed. The mark is a secret of the app, because a
-- secret is the only property of an app that can be set and listed.
local api = require "dgrun.fly.api"
local apps = require "dgrun.fly.apps"
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local machines = require "dgrun.fly.machines"
local secrets = require "dgrun.secrets"

local M = {}

M.MARK = "DGRUN_REVIEW"

---@param env dgrun.environment
---@param op string
---@return table entry of its template
local function entry_of(env, op)
    local entry = environment.entry(env)
    if not entry.pattern then
        err.raise { code = "refused.not_review", op = op,
            msg = ("%s: environment '%s' is not a review app"):format(op, entry.name),
            hint = "dg.review.environment { pr = … } returns a review app's environment." }
    end
    return entry
end

---Whose app this is: created by dgrun for a pull request; empty and unmarked; or someone else's.
---@param app dgrun.fly.app
---@return "ours"|"empty"|"foreign"
---@return string? when the mark was set
function M.standing(app)
    local list = secrets.list { app = app.name }
    for _, secret in ipairs(list) do
        if secret.name == M.MARK then
            return "ours", secret.updated_at
        end
    end
    local empty = #list == 0 and app.status == "pending" and #machines.list(app.name) == 0
        and #api.machines("GET", api.path("/v1/apps/%s/volumes", app.name)) == 0
    return empty and "empty" or "foreign"
end

local function refuse_others(app, op)
    local standing = M.standing(app)
    if standing == "foreign" then
        err.raise { code = "refused.not_ours", op = op, app = app.name,
            msg = ("app %s is in use, and dgrun did not create it for a pull request; leaving it "
                .. "unchanged"):format(app.name),
            hint = ("If it is a review app, mark it: %s (any value). If not, change the pattern in "
                .. "environments.yaml."):format(api.command(("secrets set --app %s %s"):format(
                    app.name, M.MARK))) }
    end
    return standing
end

---@param opts {environment: dgrun.environment, addresses?: string[]}
---@return {app: string, url: string?}
function M.create(opts)
    local op = "review.create"
    check.options(opts, { environment = "table", addresses = "table?" }, op)
    local entry = entry_of(opts.environment, op)
    apps.create { app = entry.app, org = entry.org }
    if refuse_others(apps.find(entry.app), op) == "empty" then
        secrets.sync { app = entry.app, secrets = { [M.MARK] = entry.app } }
    end
    apps.ensure_addresses { app = entry.app, kinds = opts.addresses }
    return { app = entry.app, url = entry.url }
end

---@param opts {environment: dgrun.environment, database?: dgrun.review.databases}
---@return {app: string}
function M.destroy(opts)
    local op = "review.destroy"
    check.options(opts, { environment = "table", database = "function?" }, op)
    local entry = entry_of(opts.environment, op)
    local app = apps.find(entry.app)
    if app then
        refuse_others(app, op)
    else
        effect.note(("app %s does not exist"):format(entry.app))
    end
    if opts.database then
        opts.database(entry.app, opts.environment).drop()
    end
    if app then
        apps.destroy { app = entry.app }
    end
    return { app = entry.app }
end

return M
