-- Review apps: an app for each pull request, by a template of environments.yaml.
--
--     templates:
--       review:
--         app: my-app-pr-{pr}
--         url: https://my-app-pr-{pr}.fly.dev
--         config: fly.toml
--         secrets: { sources: [env], required: [SECRET_KEY], private: [REVIEW_DATABASES] }
--
-- scripts/review_app.lua puts these verbs together. An app that dgrun made for a pull request
-- carries a mark, a secret of the name DGRUN_REVIEW. No verb touches an app that has no mark,
-- unless nothing is in it yet.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local environment = require "dgrun.project.environment"

local M = {}

---@class dgrun.review.database what one app gets
---@field create fun(): string|userdata the URL for the app, sealed; creates what is absent
---@field drop fun() what is gone already is fine

---A hook: what gives each app a database of its own.
---@alias dgrun.review.databases fun(app: string, env: dgrun.environment): dgrun.review.database

---@class dgrun.review.postgres
---@field server string|userdata URL of a role that may create roles, and schemas or databases
---@field as? "schema"|"database" "schema" when absent
---@field driver? string of the app's URL, such as "asyncpg"; that of `server` when absent

---@class dgrun.review.hosted
---@field what string what one of them is called: "branch"
---@field find fun(name: string): string|userdata? the URL of what is there, nil when it is not
---@field create fun(name: string): string|userdata creates it; its URL
---@field drop fun(name: string) drops what is there

---The environment of a pull request, as dg.environment gives others.
---@param opts {pr: integer, template?: string, lazy?: boolean} template: "review" when absent;
---  lazy: its secrets are looked up when the first of them is used, and those that are private one
---  by one
---@return dgrun.environment
function M.environment(opts)
    check.options(opts, { pr = "number", template = "string?", lazy = "boolean?" },
        "review.environment")
    return environment.of_template(opts.template or "review", opts.pr, { lazy = opts.lazy })
end

---The name of the app of a pull request: the group of its runs.
---@param pr integer
---@param template? string "review" when absent
---@return string
function M.app(pr, template)
    return environment.of_template(template or "review", pr, { lazy = true }).app
end

---What goes to the app: the secrets of its environment, and more.
---    dg.secrets.sync { app = env.app,
---        secrets = dg.review.secrets(env, { DATABASE_URL = database.create() }) }
---@param env dgrun.environment
---@param more? table<string, string|userdata>
---@return table<string, string|userdata>
function M.secrets(env, more)
    local all = {}
    for _, values in ipairs { environment.complete(env.secrets), more or {} } do
        for name, value in pairs(values) do
            all[name] = value
        end
    end
    return all
end

---Creates the app of a pull request, marks it, and gives it addresses; what is there is left alone.
---Errors: refused.not_ours, fly.name_taken, fly.no_organization.
---@param opts {environment: dgrun.environment, addresses?: string[]} addresses: kinds,
---  { "shared_v4", "v6" } when absent
function M.create(opts)
    return require("dgrun.review.apps").create(opts)
end

---Destroys the app of a pull request, its database first: as long as the app is there, there is
---something left to do. What is gone already is fine.
---Errors: refused.not_ours.
---@param opts {environment: dgrun.environment, database?: dgrun.review.databases}
function M.destroy(opts)
    return require("dgrun.review.apps").destroy(opts)
end

---@class dgrun.review.app
---@field app string
---@field pr integer
---@field state "deployed"|"unfinished"|"empty"|"foreign"
---@field commit? string that runs
---@field machines integer
---@field deployed? string when it was deployed last, or made; ISO 8601
---@field age? number seconds since then
---@field url? string

---The apps that fit a template, the one that was not deployed for the longest time first.
---@param opts? {template?: string}
---@return dgrun.review.app[]
function M.list(opts)
    return require("dgrun.review.list").list(opts or {})
end

---@class dgrun.review.strays
---@field template? string "review" when absent
---@field older? number seconds: those that were not deployed for so long
---@field open? string|integer[] numbers of the pull requests that are open, "12,15" or "none":
---  those of others. With both only those that are old, and whose pull request is not open

---The review apps that are no longer needed. An app that is not marked is none, whatever its age.
---@param opts dgrun.review.strays
---@return dgrun.review.app[]
function M.strays(opts)
    return require("dgrun.review.list").strays(opts)
end

---Destroys the strays. One that is deployed just now is left, and one that cannot be destroyed does
---not keep the others.
---@param opts dgrun.review.strays with `database`, a dgrun.review.databases
---@return string[] # apps that were destroyed
function M.sweep(opts)
    return require("dgrun.review.sweep").sweep(opts)
end

---Databases in a PostgreSQL server: for each app a schema or a database, with a role of its own
---that can do nothing else. Its password follows from `server`: nobody has to keep it.
---@param opts dgrun.review.postgres
---@return dgrun.review.databases
function M.postgres(opts)
    return require("dgrun.review.postgres").new(opts)
end

---A SQLite file for each app, in the folder of a URL such as sqlite+aiosqlite:////tmp/reviews: for
---a local Fly, whose machines see the files of this computer.
---@param opts {server: string|userdata}
---@return dgrun.review.databases
function M.sqlite(opts)
    return require("dgrun.review.sqlite").new(opts)
end

---What `server` is a URL of: postgres or sqlite.
---@param opts dgrun.review.postgres
---@return dgrun.review.databases
function M.databases(opts)
    local place = check(dburl.parse(opts.server))
    if place.dialect == "sqlite" then
        return M.sqlite { server = opts.server }
    end
    return M.postgres(opts)
end

---Databases of any kind, such as the branches of a hosted PostgreSQL, by three functions over its
---API. They read, create and drop; what has to be planned, journaled and looked for is done here.
---    local api = "https://console.neon.tech/api/v2/projects/my-project-1"
---    local function call(method, path, body)
---        local answer = dg.http.request { method = method, url = api .. path, json = body,
---            headers = { Authorization = "Bearer " .. env.secrets.NEON_API_KEY } }
---        if answer.status >= 300 then
---            error(("%s %s: %d"):format(method, path, answer.status))
---        end
---        return dg.json.decode(answer.body)
---    end
---    local function find(name)
---        for _, branch in ipairs(call("GET", "/branches?search=" .. name).branches) do
---            if branch.name == name then
---                return branch
---            end
---        end
---    end
---    local function url_of(branch)
---        return call("GET", "/connection_uri?database_name=app&role_name=app&branch_id="
---            .. branch.id).uri
---    end
---    local databases = dg.review.hosted {
---        what = "branch",
---        find = function(name)
---            local branch = find(name)
---            return branch and url_of(branch)
---        end,
---        create = function(name)
---            local made = call("POST", "/branches", { branch = { name = name },
---                endpoints = { { type = "read_write" } } })
---            return url_of(made.branch)
---        end,
---        drop = function(name) call("DELETE", "/branches/" .. find(name).id) end,
---    }
---@param opts dgrun.review.hosted
---@return dgrun.review.databases
function M.hosted(opts)
    return require("dgrun.review.hosted").new(opts)
end

return M
