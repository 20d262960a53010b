-- Back to an earlier release: its image and its configuration. Not when the database has moved on
-- to revisions that the old image does not know, unless they only add to it.
local check = require "dgrun.core.check"
local config_of = require "dgrun.fly.config"
local database = require "dgrun.fly.rollback_database"
local deploy = require "dgrun.fly.deploy"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local given = require "dgrun.project.environment_options"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local releases = require "dgrun.fly.releases"
local tables = require "dgrun.core.table"

local M = {}

---@class dgrun.fly.rollback.options
---@field environment? dgrun.environment gives `app`, `database`, `path` and `env`
---@field app? string
---@field to? integer version of a release; default: the release before the current one
---@field database? string|userdata URL, to see how far it has come; what it is ahead by is judged
---  as SQL for it
---@field dir? string folder with the revision files; else they are read from the commits of the
---  releases
---@field repository? string where these commits are, "."
---@field path? string folder of the application in the repository, "."
---@field env? table<string, string|userdata> more of the environment that env.py needs
---@field despite_database? string why the old image can live with what the database is ahead by
---@field strategy? string|function as of fly.deploy
---@field on_failure? "stop"|"rollback"
---@field wait_timeout? number seconds

local options = {
    app = "string", to = "integer?", database = "value?", dir = "string?", repository = "string?",
    path = "string?", env = "table?", despite_database = "string?", strategy = "any?",
    on_failure = "string?", wait_timeout = "seconds?",
}

local fill = {
    app = given.app, database = given.database, env = given.variables,
    path = given.migrations "dir",
}

local function refuse(code, msg, hint)
    err.raise { code = code, op = "fly.rollback", msg = msg, hint = hint }
end

local function is_complete(release)
    return release.status == "complete" or release.status == "succeeded"
end

local function versions(list)
    local names = {}
    for _, release in ipairs(list) do
        if is_complete(release) then
            names[#names + 1] = "v" .. release.version
        end
    end
    return #names > 0 and format.list(names) or "none"
end

---@param list table[] newest first
---@return table target
---@return table current
local function find(list, opts)
    local current, target
    for _, release in ipairs(list) do
        if not current and is_complete(release) then
            current = release
        elseif not target and is_complete(release)
            and (opts.to and release.version == opts.to
                or not opts.to and release.imageRef ~= current.imageRef) then
            target = release
        end
    end
    if opts.to and current and current.version == opts.to then
        target = current
    end
    if not target then
        refuse("fly.no_release", opts.to
            and ("%s has no complete release v%d"):format(opts.app, opts.to)
            or ("%s has no release with another image before the current one"):format(opts.app),
            "Complete releases: " .. versions(list) .. ".")
    end
    return target, current
end

local function configuration_of(opts, target)
    local definition = target.configDefinition
    if type(definition) ~= "table" or definition == json.null then
        refuse("fly.no_release", ("Fly keeps no configuration of v%d of %s"):format(target.version,
            opts.app))
    end
    local copy = tables.copy(definition)
    copy.dgrun = nil
    return config_of.of_definition(copy,
        { path = ("release v%d of %s"):format(target.version, opts.app), dir = opts.dir or "." })
end

---Brings an app back to the image and the configuration of an earlier release.
---What the database is ahead by is noted, each revision with its class. The rollback is refused for
---revisions that lose data, make the old code fail, or have no file that can be read, by name.
---Errors: fly.no_release, fly.no_image, refused.database_ahead with `revisions`,
---refused.database_differs; those of fly.deploy.
---@param opts dgrun.fly.rollback.options
---@return dgrun.fly.deploy.result
function M.rollback(opts)
    opts = given.fill(opts, fill, "fly.rollback")
    check.options(opts, options, "fly.rollback")
    machines.app(opts.app)
    if opts.despite_database and not opts.despite_database:find("%S") then
        err.raise { code = "input.invalid", op = "fly.rollback",
            msg = "fly.rollback: despite_database needs a reason",
            hint = "Say why the old image works with the newer database revisions." }
    end
    local list = releases.history(opts.app)
    local target, current = find(list, opts)
    local now = database.check(opts, list, target, current)
    local note = database.note_of(target)
    effect.note(("back to v%d of %s: %s"):format(target.version, opts.app, target.imageRef))
    return deploy.deploy {
        app = opts.app, config = configuration_of(opts, target), image = target.imageRef,
        commit = note.commit, heads = note.heads, database_heads = now,
        strategy = opts.strategy, on_failure = opts.on_failure, wait_timeout = opts.wait_timeout,
        -- The old one knows nothing of a database that is ahead, and all of one that is not.
        skip_release_command = true,
    }
end

---Which release a rollback would go back to. A run that may be interrupted asks first: once it went
---back, the previous release is another.
---Errors: fly.no_release.
---@param opts {app: string, to?: integer}
---@return {version: integer, image: string, commit?: string, created_at: string}
function M.rollback_target(opts)
    check.options(opts, { app = "string", to = "integer?" }, "fly.rollback_target")
    machines.app(opts.app)
    local target = find(releases.history(opts.app), opts)
    return { version = target.version, image = target.imageRef, created_at = target.createdAt,
        commit = database.note_of(target).commit }
end

return M
