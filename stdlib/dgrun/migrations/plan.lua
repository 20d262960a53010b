-- What an upgrade would do: the pending revisions in their order, each with its SQL and what is
-- dangerous about it. Nothing is changed.
local alembic = require "dgrun.migrations.alembic"
local carry_out = require "dgrun.migrations.execute"
local check = require "dgrun.core.check"
local current_of = require "dgrun.migrations.current"
local dburl = require "host.dburl"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local hazards = require "dgrun.migrations.hazards"
local host = require "host.git"
local json = require "dgrun.core.json"
local log = require "host.log"
local proc = require "host.proc"
local program = require "dgrun.migrations.render_program"
local revisions = require "dgrun.migrations.revisions"
local source = require "dgrun.migrations.source"

local M = {}

local FILE_LIMIT = 1024 * 1024

---@class dgrun.migrations.planned
---@field revision string
---@field down string[]
---@field message string
---@field file string
---@field author? string of the last commit that touched the file
---@field commit? string that commit
---@field sql? string nil where it cannot be known beforehand
---@field sql_error? string why neither Alembic nor a run could tell it
---@field sql_from "offline"|"copy"|"read-only"|"source" from Alembic's offline mode, from a run on
---  a copy of the schema, or from a run whose writes were not sent: its statements may differ; or
---  from the Python source of the file, which is then judged, as far as it can be read
---@field class "additive"|"rewriting"|"destructive"|"unknown"
---@field findings table[] of dgrun.hazards

---@class dgrun.migrations.plan
---@field current string[]
---@field heads string[]
---@field pending dgrun.migrations.planned[] in the order in which they would be applied
---@field class "none"|"additive"|"rewriting"|"destructive"|"unknown" the worst of them

local rank = { none = 0, additive = 1, rewriting = 2, unknown = 3, destructive = 4 }

local REASON_LIMIT = 160
local RENDER_TIMEOUT = 120

---@class dgrun.migrations.rendered
---@field sql? string
---@field how? "offline"|"copy"|"read-only" from Alembic's offline mode, from a run on a copy of
---  the database, or from statements that were recorded and not sent
---@field error? string why it is not known

---@param reason string
local function short(reason)
    return format.excerpt(log.clean(reason), REASON_LIMIT)
end

local function not_rendered(list, reason)
    local rendered = {}
    for _, revision in ipairs(list) do
        rendered[revision.revision] = { error = short(reason) }
    end
    return rendered
end

---The SQL of revisions, rendered by one run of the project's env.py that changes nothing.
---@param opts {dir: string, database: userdata|string, env?: table, timeout?: number}
---@param list dgrun.revision[] in the order in which they would be applied
---@param from string[] revisions that they would be applied on
---@param live boolean the database is where they begin: they may run on a copy of it
---@return table<string, dgrun.migrations.rendered> # by revision
local function render(opts, list, from, live)
    local python = alembic.find(opts.dir).python
    if not python then
        return not_rendered(list, "could not find the Python that has Alembic")
    end
    local ids = {}
    for i, revision in ipairs(list) do
        ids[i] = revision.revision
    end
    local argv = { unpack(python) }
    for _, word in ipairs { "-c", program, json.encode {
        revisions = json.array(ids), from = json.array { unpack(from) }, live = live,
        dialect = check(dburl.parse(opts.database)).dialect } } do
        argv[#argv + 1] = word
    end
    local result = check(proc.run {
        argv = argv, cwd = opts.dir, timeout = opts.timeout or RENDER_TIMEOUT, read_only = true,
        env = alembic.environment { database = opts.database, env = opts.env },
    })
    if result.status ~= 0 then
        return not_rendered(list, format.last_line(result.stderr) or "it printed nothing")
    end
    local rendered = check(json.decode(result.stdout))
    for _, one in pairs(rendered) do
        one.error = one.error and short(one.error)
    end
    return rendered
end

---What is accepted for a revision: in its file, or in the call.
local function accepted_for(opts, revision)
    local text = check(fs.read(revision.file, { limit = FILE_LIMIT }))
    local ok, accepted = pcall(hazards.accepted_in, text)
    if not ok then
        accepted = err.object(accepted)
        accepted.msg = ("%s: %s"):format(revision.file, accepted.msg)
        err.raise(accepted)
    end
    for rule, reason in pairs(opts.accept or {}) do
        accepted[rule] = accepted[rule] or reason
    end
    return accepted
end

---What could not be rendered is read from its source. SQLite is judged by the source where that can
---be: the SQL of Alembic's batch mode does not show what it does to a table.
---@param rendered table<string, dgrun.migrations.rendered>
---@param sources table<string, dgrun.migrations.source>
---@param dialect string
---@return boolean
local function from_source(id, rendered, sources, dialect)
    return not rendered[id].sql or dialect == "sqlite" and sources[id].is_complete
end

---The sources of those whose source is looked at.
local function read_sources(opts, list, rendered, dialect)
    local wanted = {}
    for _, revision in ipairs(list) do
        if dialect == "sqlite" or not rendered[revision.revision].sql then
            wanted[#wanted + 1] = revision
        end
    end
    if #wanted == 0 then
        return {}
    end
    local ok, sources = pcall(source.read, { dir = opts.dir, dialect = dialect }, wanted)
    if not ok and not (err.is(sources, "migrations") or err.is(sources, "proc")) then
        error(sources, 0)
    elseif not ok then
        local reason = sources.msg
        sources = {}
        for _, revision in ipairs(wanted) do
            sources[revision.revision] = source.unreadable(revision, reason)
        end
    end
    return sources
end

---@param opts dgrun.migrations.plan.options
---@param pending dgrun.revision[]
---@param dialect string
---@param parts_of fun(id: string): dgrun.hazards.part[]
---@return table<string, dgrun.hazards.finding[]> # by revision. All are judged together: a table
---that an earlier one makes is new to the later ones as well.
function M.findings(opts, pending, dialect, parts_of)
    local parts, accepted, found = {}, {}, {}
    for _, revision in ipairs(pending) do
        local id = revision.revision
        for _, part in ipairs(parts_of(id)) do
            parts[#parts + 1] = part
        end
        accepted[id], found[id] = accepted_for(opts, revision), {}
    end
    local judgement = hazards.judge { parts = parts, dialect = dialect,
        accepted = accepted, lock_timeout = opts.lock_timeout ~= nil }
    for _, finding in ipairs(judgement.findings) do
        table.insert(found[finding.revision] or found[pending[1].revision], finding)
    end
    return found
end

---@param findings dgrun.hazards.finding[]
---@param is_known boolean all that it does is known
---@return "additive"|"rewriting"|"destructive"|"unknown"
function M.class_of(findings, is_known)
    local class = is_known and "additive" or "unknown"
    for _, finding in ipairs(findings) do
        local own = finding.effect or finding.rule == "unread" and "unknown" or "none"
        class = rank[own] > rank[class] and own or class
    end
    return class
end

---Who wrote a file last; nil where no repository tells.
---@return dgrun.git.commit?
local function last_commit(opts, file)
    local found = host.log { dir = opts.repository or ".", limit = 1,
        to = opts.commit or "HEAD", path = file:sub(#opts.dir + 2) }
    return found and found[1]
end

---The SQL of a revision, and where it comes from.
---@return dgrun.migrations.rendered
local function known_sql(rendered, read)
    if rendered.sql then
        return rendered
    end
    return { sql = read.is_complete and read.sql or nil, how = "source", error = rendered.error }
end

---@return dgrun.migrations.planned
local function planned_of(opts, revision, known, findings)
    local written = last_commit(opts, revision.file)
    return {
        revision = revision.revision, down = revision.down, message = revision.message,
        file = revision.file, sql = known.sql, sql_error = known.error, sql_from = known.how,
        author = written and written.author, commit = written and written.commit,
        class = M.class_of(findings, known.sql ~= nil), findings = findings,
    }
end

---What these revisions do, in their order.
---@param opts dgrun.migrations.plan.options
---@param list dgrun.revision[]
---@param from string[] revisions that they are applied on
---@param live? boolean the database is there now
---@return dgrun.migrations.planned[]
function M.judge(opts, list, from, live)
    if #list == 0 then
        return {}
    end
    local dialect = check(dburl.parse(opts.database)).dialect
    local rendered = render(opts, list, from, live or false)
    local sources = read_sources(opts, list, rendered, dialect)
    local found = M.findings(opts, list, dialect, function(id)
        return from_source(id, rendered, sources, dialect) and sources[id].parts
            or { { sql = rendered[id].sql, revision = id } }
    end)
    local planned = {}
    for i, revision in ipairs(list) do
        local id = revision.revision
        planned[i] = planned_of(opts, revision, known_sql(rendered[id], sources[id]), found[id])
    end
    return planned
end

local options = {
    dir = "string", database = "value", target = "string?", lock_timeout = "string?",
    env = "table?", accept = "table?", timeout = "seconds?", repository = "string?",
    commit = "string?",
}

---@class dgrun.migrations.plan.options
---@field dir string
---@field database userdata|string
---@field target? string
---@field lock_timeout? string that the upgrade will have
---@field env? table
---@field accept? table<string, string> rule → reason, for all revisions
---@field timeout? number seconds for Alembic
---@field repository? string where the history of the files in `dir` is, "."
---@field commit? string of it that `dir` was taken from, "HEAD"

---@param opts dgrun.migrations.plan.options
---@return dgrun.migrations.plan
function M.plan(opts)
    carry_out.check(opts, options, "migrations.plan")
    local target = opts.target or "head"
    local graph = revisions.read(opts.dir)
    local current = current_of.read(opts.database, opts.dir)
    local plan = { current = current, heads = revisions.heads(graph), class = "none",
        pending = M.judge(opts, revisions.pending(graph, current, target), current, true) }
    for _, planned in ipairs(plan.pending) do
        plan.class = rank[planned.class] > rank[plan.class] and planned.class or plan.class
    end
    return plan
end

return M
