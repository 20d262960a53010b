-- Review apps: an app for each pull request, from a template in environments.yaml.
--
--     templates:
--       review:
--         app: my-app-pr-{pr}
--         url: https://my-app-pr-{pr}.fly.dev
--         config: fly.toml
--         secrets: { sources: [env], required: [SECRET_KEY], private: [REVIEW_DATABASES] }
--
-- scripts/review_app.lua combines these functions. An app that dgrun created for a pull request has
-- a mark, a secret named DGRUN_REVIEW. No function changes an app without the mark unless the app
-- is empty.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local environment = require "dgrun.project.environment"
local tables = require "dgrun.core.table"

local M = {}

---@class dgrun.review.database the database of one app
---@field create fun(): string|userdata creates the database if needed; returns its URL, sealed
---@field drop fun() drops the database if it exists

---A hook that gives each app its own database.
---@alias dgrun.review.databases fun(app: string, env: dgrun.environment): dgrun.review.database

---@class dgrun.review.postgres
---@field server string|userdata URL of a role that may create roles, and schemas or databases
---@field as? "schema"|"database" "schema" when absent
---@field driver? string of the app's URL, such as "asyncpg"; default: the driver of `server`

---@class dgrun.review.hosted
---@field what string the host's word for a database: "branch"
---@field find fun(name: string): string|userdata? the URL of the database, or nil
---@field create fun(name: string): string|userdata creates the database; returns its URL
---@field drop fun(name: string) drops the database

---The environment of a pull request, like the result of dg.environment.
---@param opts {pr: integer, template?: string, lazy?: boolean} template: "review" when absent;
---  lazy: secrets are looked up when the first of them is used, and private secrets individually
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

---The secrets for the app: the secrets of its environment, and `more`.
---    dg.secrets.sync { app = env.app,
---        secrets = dg.review.secrets(env, { DATABASE_URL = database.create() }) }
---@param env dgrun.environment
---@param more? table<string, string|userdata>
---@return table<string, string|userdata>
function M.secrets(env, more)
    return tables.merged(environment.complete(env.secrets), more)
end

---Creates the app of a pull request, marks it, and allocates addresses. Steps that are already done
---are skipped.
---Errors: refused.not_ours, fly.name_taken, fly.no_organization.
---@param opts {environment: dgrun.environment, addresses?: string[]} addresses: kinds,
---  { "shared_v4", "v6" } when absent
function M.create(opts)
    return require("dgrun.review.apps").create(opts)
end

---Destroys the database of a pull request and then its app, so that an interrupted run leaves the
---app as a sign of unfinished work. An app or database that does not exist is not an error.
---Errors: refused.not_ours.
---@param opts {environment: dgrun.environment, database?: dgrun.review.databases}
function M.destroy(opts)
    return require("dgrun.review.apps").destroy(opts)
end

---@class dgrun.review.app
---@field app string
---@field pr integer
---@field state "deployed"|"unfinished"|"empty"|"foreign"
---@field commit? string the running commit
---@field machines integer
---@field deployed? string time of the last deploy, or of its creation; ISO 8601
---@field age? number seconds since then
---@field url? string

---The apps that match a template, the least recently deployed first.
---@param opts? {template?: string}
---@return dgrun.review.app[]
function M.list(opts)
    return require("dgrun.review.list").list(opts or {})
end

---@class dgrun.review.strays
---@field template? string "review" when absent
---@field older? number seconds: apps that were not deployed for this long
---@field open? string|integer[] numbers of the open pull requests, "12,15" or "none": apps of
---  other pull requests. With both options, apps that meet both conditions

---The review apps that are no longer needed. An app without the mark is never included.
---@param opts dgrun.review.strays
---@return dgrun.review.app[]
function M.strays(opts)
    return require("dgrun.review.list").strays(opts)
end

---Destroys the review apps that are no longer needed. An app with a running deploy is kept. After a
---failure, the other apps are still destroyed.
---@param opts dgrun.review.strays with `database`, a dgrun.review.databases
---@return string[] # apps that were destroyed
function M.sweep(opts)
    return require("dgrun.review.sweep").sweep(opts)
end

---Databases in a PostgreSQL server: for each app a schema or a database, with its own role that
---has no other rights. The password is derived from `server`, so it is not stored anywhere.
---@param opts dgrun.review.postgres
---@return dgrun.review.databases
function M.postgres(opts)
    return require("dgrun.review.postgres").new(opts)
end

---A SQLite file for each app, in the folder of a URL such as sqlite+aiosqlite:////tmp/reviews: for
---a local Fly, whose machines can read the files of this computer.
---@param opts {server: string|userdata}
---@return dgrun.review.databases
function M.sqlite(opts)
    return require("dgrun.review.sqlite").new(opts)
end

---dg.review.postgres or dg.review.sqlite, by the URL in `server`.
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
---API that find, create, and drop a database. Plans, the journal, and checks after a failure are
---handled here.
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
