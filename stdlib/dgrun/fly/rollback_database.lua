-- May an app go back to an earlier release, seen from its database? Each revision between the two
-- is classed: the old image can live with what only adds.
local ahead_of = require "dgrun.migrations.ahead"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local migrations = require "dgrun.migrations"

local M = {}

---What dgrun noted with a release: the commit, the heads of its revision files, and those that the
---database had then, which a rollback leaves as they are.
---@return {commit?: string, heads?: string[], database?: string[]}
function M.note_of(release)
    local definition = release.configDefinition
    local note = type(definition) == "table" and definition.dgrun
    return type(note) == "table" and note or {}
end

local function name_of(release)
    return "v" .. release.version
end

---The heads of a release's revision files: noted, or those of its commit.
local function heads_of(opts, release)
    local note = M.note_of(release)
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
        local ids = M.note_of(release).database or heads_of(opts, release)
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
        local commit = M.note_of(release).commit
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
local function refuse(opts, text, fields)
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
        return refuse(opts, ("%s: %s"):format(what, table.concat(lines_of(bad), ", ")))
    end
    refuse(opts, ("%s:\n  %s"):format(what, table.concat(lines_of(all, true), "\n  ")), {
        code = "refused.database_ahead", revisions = all, hint = how_to_go_back(old, found),
    })
end

---@param opts dgrun.fly.rollback.options
---@param list table[] releases, newest first
---@param target table
---@param current table
---@return string[]? # where the database is
function M.check(opts, list, target, current)
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
        refuse(opts, ("the image of %s needs %s, which the database does not have: it is at %s")
            :format(name_of(target), format.list(found.missing),
                #at > 0 and format.list(at) or "no revision"),
            { code = "refused.database_differs", missing = found.missing,
                hint = "Upgrade the database first: migrations.upgrade with the files of "
                    .. name_of(target) .. "; or, " .. OR_SAY_WHY })
    end
    judge(opts, target, old, found)
    return at
end

return M
