-- Back to an earlier release: its image and its configuration. Not when the database has moved on
-- to revisions that the old image does not know, unless they only add to it.
local ahead_of = require "dgrun.migrations.ahead"
local check = require "dgrun.core.check"
local config_of = require "dgrun.fly.config"
local deploy = require "dgrun.fly.deploy"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local given = require "dgrun.project.environment_options"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local migrations = require "dgrun.migrations"
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

---What dgrun noted with a release: the commit, the heads of its revision files, and those that the
---database had then, which a rollback leaves as they are.
---@return {commit?: string, heads?: string[], database?: string[]}
local function note_of(release)
    local definition = release.configDefinition
    local note = type(definition) == "table" and definition.dgrun
    return type(note) == "table" and note or {}
end

local function name_of(release)
    return "v" .. release.version
end

---The heads of a release's revision files: noted, or those of its commit.
local function heads_of(opts, release)
    local note = note_of(release)
    if note.heads or not note.commit then
        return note.heads
    end
    return ahead_of.heads_at(opts, note.commit)
end

---Where the releases may have brought the database to. One that failed may have migrated it before,
---so all since the current one count.
local function told_by_releases(opts, list, current)
    local at, seen = nil, {}
    for _, release in ipairs(list) do
        local ids = note_of(release).database or heads_of(opts, release)
        at = at or ids and {}
        for _, id in ipairs(ids or {}) do
            if not seen[id] then
                seen[id], at[#at + 1] = true, id
            end
        end
        if release.version <= current.version then
            return at
        end
    end
    return at
end

---Where the files of the database's revisions may be: what the call names, then the commits of the
---releases, the newest first, then what is checked out.
local function places_of(opts, list)
    local places, seen = {}, {}
    if opts.dir then
        places[1] = { name = opts.dir, dir = opts.dir }
    end
    for _, release in ipairs(list) do
        local commit = note_of(release).commit
        if commit and not seen[commit] then
            seen[commit] = true
            places[#places + 1] = { commit = commit,
                name = ("%s (%s)"):format(name_of(release), commit:sub(1, 12)) }
        end
    end
    places[#places + 1] = { name = "HEAD", commit = "HEAD" }
    return places
end

---Refuses; or says what is accepted.
local function refuse_database(opts, text, fields)
    if opts.despite_database then
        return effect.note(("%s; accepted: %s"):format(text, opts.despite_database))
    end
    fields.op, fields.msg = "fly.rollback", text
    err.raise(fields)
end

local OR_SAY_WHY = "if the old image works with it, say why: despite_database = \"REASON\"."

local function line_of(one)
    local class = one.class == "unknown" and (one.fits and "not known" or "unreadable")
        or one.class
    return ("%s%s (%s)"):format(one.revision, one.message ~= "" and " " .. one.message or "", class)
end

local function lines_of(list, with_reasons)
    local lines = {}
    for _, one in ipairs(list) do
        lines[#lines + 1] = line_of(one)
        for _, reason in ipairs(with_reasons and one.reasons or {}) do
            lines[#lines + 1] = "  " .. reason
        end
    end
    return lines
end

local function bad_ones(list)
    local bad = {}
    for _, one in ipairs(list) do
        if not one.fits then
            bad[#bad + 1] = one
        end
    end
    return bad
end

local function how_to_go_back(old, found)
    local hint = ("Bring the database back first, with the files of %s: migrations.downgrade "
        .. "{ %s… }; data they added is lost. Or, %s"):format(found.files or "the newer release",
        #old == 1 and ("target = \"%s\", "):format(old[1]) or "", OR_SAY_WHY)
    for _, problem in ipairs(found.files and {} or found.problems) do
        hint = ("%s\nLooked in %s."):format(hint, problem)
    end
    return hint
end

local function only_adds(list)
    for _, one in ipairs(list) do
        if one.class ~= "additive" then
            return false
        end
    end
    return true
end

local function judge(opts, target, old, found)
    local all, bad = found.revisions, bad_ones(found.revisions)
    if #bad == 0 then
        if #all > 0 then
            effect.note(("the database is ahead of %s by %s: %s"):format(name_of(target),
                only_adds(all) and "revisions that only add to it"
                or "revisions that lose no data, as far as is known",
                table.concat(lines_of(all), ", ")))
        end
        return
    end
    local what = ("the database is ahead of %s by %s, and its image may not work with %s"):format(
        name_of(target), format.count(#all, "revision"),
        #all == 1 and "it" or #bad == #all and "them" or ("%d of them"):format(#bad))
    if opts.despite_database then
        return refuse_database(opts, ("%s: %s"):format(what, table.concat(lines_of(bad), ", ")))
    end
    refuse_database(opts, ("%s:\n  %s"):format(what, table.concat(lines_of(all, true), "\n  ")), {
        code = "refused.database_ahead", revisions = all, hint = how_to_go_back(old, found),
    })
end

---May the app go back, seen from its database? Each revision between the two releases is classed:
---the old image can live with what only adds.
---@param list table[] releases, newest first
---@return string[]? # where the database is
local function check_database(opts, list, target, current)
    local old = heads_of(opts, target)
    local at = opts.database and migrations.current {
        database = opts.database, dir = opts.dir } or told_by_releases(opts, list, current)
    if not old and not at then
        return nil -- an app without migrations
    elseif not old then
        effect.note(("not compared with the database, which is at %s: no record shows which "
            .. "revisions the image of %s knows"):format(
            #at > 0 and format.list(at) or "no revision", name_of(target)))
        return at
    elseif not at then
        effect.note(("not compared with the database: its revision is unknown. The image of %s "
            .. "knows the revisions up to %s"):format(name_of(target), format.list(old)))
        return nil
    end
    local found = ahead_of.find { old = old, at = at, places = places_of(opts, list),
        repository = opts.repository, path = opts.path, database = opts.database, env = opts.env }
    if #found.missing > 0 then
        refuse_database(opts, ("the image of %s needs %s, which the database does not have: it is "
            .. "at %s"):format(name_of(target), format.list(found.missing),
                #at > 0 and format.list(at) or "no revision"),
            { code = "refused.database_differs", missing = found.missing,
                hint = "Upgrade the database first: migrations.upgrade with the files of "
                    .. name_of(target) .. "; or, " .. OR_SAY_WHY })
    end
    judge(opts, target, old, found)
    return at
end

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
    local now = check_database(opts, list, target, current)
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
---back, the previous release is another.
---Errors: fly.no_release.
---@param opts {app: string, to?: integer}
---@return {version: integer, image: string, commit?: string, created_at: string}
function M.rollback_target(opts)
    check.options(opts, { app = "string", to = "integer?" }, "fly.rollback_target")
    machines.app(opts.app)
    local target = find(releases.history(opts.app), opts)
    return { version = target.version, image = target.imageRef, created_at = target.createdAt,
        commit = note_of(target).commit }
end

return M
