-- What a database has that an older release does not know, and whether that release can live with
-- it. All comes from revision files, in folders and in commits: no store is needed.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local git = require "dgrun.git"
local plan = require "dgrun.migrations.plan"
local revisions = require "dgrun.migrations.revisions"

local M = {}

local SHOWN_REASONS = 3

---Where revision files may be: a folder, or a commit.
---@class dgrun.migrations.ahead.place
---@field name string for messages: "v7"
---@field dir? string
---@field commit? string

---@class dgrun.migrations.ahead.options
---@field old string[] heads of the older release
---@field at string[] where the database is
---@field places dgrun.migrations.ahead.place[] the first that knows all of `at` is used
---@field repository? string "."
---@field path? string folder of the application in the repository, "."
---@field database? userdata|string what the SQL is rendered for
---@field env? table of Alembic
---@field timeout? number seconds for Alembic

---@class dgrun.migrations.ahead.revision
---@field revision string
---@field message string
---@field class "additive"|"rewriting"|"destructive"|"unknown"
---@field fits boolean nothing shows that the older release cannot live with it
---@field reasons string[] what is known about that

---@class dgrun.migrations.ahead
---@field revisions dgrun.migrations.ahead.revision[] in the order in which they were applied
---@field missing string[] what the older release needs and the database has not
---@field files? string where the files were found
---@field problems string[] why they were not in the other places

local function first_line(text)
    return text:match("^[^\n]*")
end

---What `f` gives; nil and the reason for what lies in the files and the repository.
local function attempt(f, ...)
    local ok, found = pcall(f, ...)
    if ok then
        return found
    end
    local e = err.object(found)
    if err.is_any(e, { "git", "migrations", "fs", "hazards", "proc" }) then
        return nil, first_line(e.msg)
    end
    error(found, 0)
end

local function read(opts, place)
    local dir = place.dir
    if not dir then
        local source = git.checkout { ref = place.commit,
            dir = opts.repository or "." }
        dir = source.dir / (opts.path or ".")
    end
    return { dir = dir, graph = revisions.read(dir), place = place }
end

---The heads of the files in a commit; nil and why where they cannot be read.
---@param opts {repository?: string, path?: string}
---@param commit string
---@return string[]?
---@return string? reason
function M.heads_at(opts, commit)
    local files, reason = attempt(read, opts, { name = "", commit = commit })
    if not files then
        return nil, reason
    end
    return revisions.heads(files.graph)
end

---Those that a graph does not have.
local function strangers(graph, ids)
    local list = {}
    for _, id in ipairs(ids) do
        if not graph.by_id[id] then
            list[#list + 1] = id
        end
    end
    return list
end

---The first place that knows all revisions of the database.
local function find_files(opts)
    local problems = {}
    for _, place in ipairs(opts.places) do
        local files, reason = attempt(read, opts, place)
        local unknown = files and strangers(files.graph, opts.at) or {}
        if files and #unknown == 0 then
            return files, problems
        end
        problems[#problems + 1] = ("%s: %s"):format(place.name, reason
            or "no file there declares " .. table.concat(unknown, ", "))
    end
    return nil, problems
end

---The ones of `ids` that are not in `others`.
local function without(ids, others)
    local known, list = {}, {}
    for _, id in ipairs(others) do
        known[id] = true
    end
    for _, id in ipairs(ids) do
        if not known[id] then
            list[#list + 1] = id
        end
    end
    return list
end

---What cannot be read at all is not taken for harmless.
local function unreadable(id, message, reason)
    return { revision = id, message = message, class = "unknown", fits = false,
        reasons = { reason } }
end

---What is known about a revision, and whether the older release can live with that. It cannot with
---what is lost, or with what makes old code fail.
---@return string[] reasons
---@return boolean fits
local function reasons_of(planned)
    local reasons, fits = {}, true
    if not planned.sql then
        reasons[1] = "its SQL is unknown: " .. planned.sql_error
    end
    for _, finding in ipairs(planned.findings) do
        if finding.effect or finding.old_code then
            reasons[#reasons + 1] = ("%s (%s): %s"):format(finding.statement, finding.rule,
                finding.why)
            fits = fits and finding.effect ~= "destructive" and not finding.old_code
        end
    end
    if #reasons > SHOWN_REASONS then
        reasons[SHOWN_REASONS] = ("and %d more"):format(#reasons - SHOWN_REASONS + 1)
    end
    return { unpack(reasons, 1, SHOWN_REASONS) }, fits
end

local function judge(opts, files, list)
    local planned, reason
    if opts.database then
        planned, reason = attempt(plan.judge, {
            dir = files.dir, database = opts.database, env = opts.env, timeout = opts.timeout,
            lock_timeout = "1s", repository = opts.repository, commit = files.place.commit,
        }, list, opts.old)
    else
        reason = "no database was given to render its SQL for"
    end
    local found = {}
    for i, revision in ipairs(list) do
        if planned then
            local reasons, fits = reasons_of(planned[i])
            found[i] = { revision = revision.revision, message = revision.message,
                class = planned[i].class, fits = fits, reasons = reasons }
        else
            found[i] = unreadable(revision.revision, revision.message, reason)
        end
    end
    return found
end

---@param opts dgrun.migrations.ahead.options
---@return dgrun.migrations.ahead
function M.find(opts)
    check.options(opts, {
        old = "table", at = "table", places = "table", repository = "string?", path = "string?",
        database = "value?", env = "table?", timeout = "seconds?",
    }, "migrations.ahead")
    local extra = without(opts.at, opts.old)
    if #extra == 0 and #without(opts.old, opts.at) == 0 then
        return { revisions = {}, missing = {}, problems = {} }
    end
    local files, problems = find_files(opts)
    if not files then
        local list = {}
        for i, id in ipairs(extra) do
            list[i] = unreadable(id, "", "its revision file is not available")
        end
        -- Whether the database lacks what the older release needs cannot be told either.
        return { revisions = list, missing = #list == 0 and without(opts.old, opts.at) or {},
            problems = problems }
    end
    local foreign = strangers(files.graph, opts.old)
    local known = without(opts.old, foreign)
    local missing = revisions.between(files.graph, opts.at, known)
    for i, revision in ipairs(missing) do
        missing[i] = revision.revision
    end
    for _, id in ipairs(foreign) do
        missing[#missing + 1] = id
    end
    return { missing = missing, files = files.place.name, problems = problems,
        revisions = judge(opts, files, revisions.between(files.graph, known, opts.at)) }
end

return M
