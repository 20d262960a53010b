-- Back to an earlier release: its image and its configuration. Not when the database has moved on
-- to revisions that the old image does not know, unless they only add to it.
local check = require "dgrun.check"
local config_of = require "dgrun.fly.config"
local deploy = require "dgrun.fly.deploy"
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local format = require "dgrun.format"
local json = require "dgrun.json"
local releases = require "dgrun.fly.releases"

local M = {}

---@class dgrun.fly.rollback.options
---@field app string
---@field to? integer version of a release; the one before the current one, when absent
---@field database? string|userdata URL, to see how far it has come
---@field dir? string folder with the revision files, to name what it is ahead by
---@field additive? boolean what the database is ahead by only adds to it
---@field strategy? string|function as of fly.deploy
---@field on_failure? "stop"|"rollback"
---@field wait_timeout? number seconds

local options = {
    app = "string", to = "integer?", database = "value?", dir = "string?", additive = "boolean?",
    strategy = "any?", on_failure = "string?", wait_timeout = "seconds?",
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
            "Complete ones are: " .. versions(list) .. ".")
    end
    return target, current
end

---What dgrun noted with a release: the commit, the heads of its revision files, and those that the
---database had then, which a rollback leaves as they are.
local function note_of(release)
    local definition = release.configDefinition
    local note = type(definition) == "table" and definition.dgrun
    return type(note) == "table" and note or {}
end

local function same_set(a, b)
    local left = {}
    for _, id in ipairs(a) do
        left[id] = true
    end
    for _, id in ipairs(b) do
        if not left[id] then
            return false
        end
        left[id] = nil
    end
    return next(left) == nil
end

---Revisions that the database has and the old image does not know; nil when that cannot be told.
local function ahead_by(opts, heads, current)
    if same_set(heads, current) then
        return {}
    elseif not opts.dir then
        return nil
    end
    local revisions = require "dgrun.revisions"
    local graph = revisions.read(opts.dir)
    local unknown = {}
    for _, id in ipairs(current) do
        for _, revision in ipairs(revisions.pending(graph, heads, id)) do
            unknown[revision.revision] = true
        end
    end
    local list = {}
    for id in pairs(unknown) do
        list[#list + 1] = id
    end
    table.sort(list)
    return list
end

---Where the database is: asked, or what the current release brought it to.
local function database_heads(opts, current)
    if opts.database then
        return require("dgrun.migrations").current { database = opts.database, dir = opts.dir }
    end
    local note = note_of(current)
    return note.database or note.heads
end

---@param now? string[] where the database is
local function check_database(opts, target, now)
    local heads = note_of(target).heads
    if opts.additive then
        return effect.note("the database may be ahead: its new revisions are said to be additive")
    elseif not heads and not now then
        return
    elseif not heads then
        refuse("refused.unknown_heads", ("nobody noted which revisions the image of v%d knows")
            :format(target.version),
            "If what the database is ahead by only adds to it, say additive = true.")
    elseif not now then
        return
    end
    local ahead = ahead_by(opts, heads, now)
    if not ahead then
        refuse("refused.database_differs",
            ("the database is at %s, the image of v%d knows up to %s"):format(
                table.concat(now, ", "), target.version, table.concat(heads, ", ")),
            "With `dir` it can be told by how much. If it only adds, say additive = true.")
    elseif #ahead > 0 then
        refuse("refused.database_ahead",
            ("the database is ahead by %s that the image of v%d does not know: %s"):format(
                format.count(#ahead, "revision"), target.version, table.concat(ahead, ", ")),
            "Downgrade it first, or say additive = true if these only add to it.")
    end
end

local function configuration_of(opts, target)
    local definition = target.configDefinition
    if type(definition) ~= "table" or definition == json.null then
        refuse("fly.no_release", ("Fly keeps no configuration of v%d of %s"):format(target.version,
            opts.app))
    end
    local copy = config_of.copy(definition)
    copy.dgrun = nil
    return config_of.of_definition(copy,
        { path = ("release v%d of %s"):format(target.version, opts.app), dir = opts.dir or "." })
end

---Brings an app back to the image and the configuration of an earlier release.
---Errors: fly.no_release, fly.no_image, refused.database_ahead, refused.database_differs,
---refused.unknown_heads, and those of fly.deploy.
---@param opts dgrun.fly.rollback.options
---@return dgrun.fly.deploy.result
function M.rollback(opts)
    check.options(opts, options, "fly.rollback")
    require("dgrun.fly.machines").app(opts.app)
    local target, current = find(releases.history(opts.app), opts)
    local now = database_heads(opts, current)
    check_database(opts, target, now)
    local note = note_of(target)
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
---back, the one before is another.
---Errors: fly.no_release.
---@param opts {app: string, to?: integer}
---@return {version: integer, image: string, commit?: string, created_at: string}
function M.rollback_target(opts)
    check.options(opts, { app = "string", to = "integer?" }, "fly.rollback_target")
    require("dgrun.fly.machines").app(opts.app)
    local target = find(releases.history(opts.app), opts)
    local definition = target.configDefinition
    local note = type(definition) == "table" and definition.dgrun
    return { version = target.version, image = target.imageRef, created_at = target.createdAt,
        commit = type(note) == "table" and note.commit or nil }
end

return M
