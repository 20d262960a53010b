-- What an upgrade would do: the pending revisions in their order, each with its SQL and what is
-- dangerous about it. Nothing is changed.
local carry_out = require "dgrun.migrations.carry_out"
local check = require "dgrun.check"
local fs = require "host.fs"
local hazards = require "dgrun.hazards"
local migrations = require "dgrun.migrations"
local render = require "dgrun.migrations.render"
local revisions = require "dgrun.revisions"

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
---@field sql_error? string why not
---@field sql_from? "offline"|"copy"|"read-only" from Alembic's offline mode, from a run on a
---  copy of the schema, or from a run whose writes were not sent: its statements may differ
---@field class "additive"|"rewriting"|"destructive"|"unknown"
---@field findings table[] of dgrun.hazards

---@class dgrun.migrations.plan
---@field current string[]
---@field heads string[]
---@field pending dgrun.migrations.planned[] in the order in which they would be applied
---@field class "none"|"additive"|"rewriting"|"destructive"|"unknown" the worst of them

local rank = { none = 0, additive = 1, unknown = 2, rewriting = 3, destructive = 4 }

---What is accepted for a revision: in its file, or in the call.
local function accepted_for(opts, revision)
    local accepted = hazards.accepted_in(check(fs.read(revision.file, { limit = FILE_LIMIT })))
    for rule, reason in pairs(opts.accept or {}) do
        accepted[rule] = accepted[rule] or reason
    end
    return accepted
end

---Findings by revision. All are judged together: a table that an earlier one makes is new to the
---later ones as well.
local function findings_of(opts, pending, rendered, dialect)
    local texts, accepted, found = {}, {}, {}
    for i, revision in ipairs(pending) do
        local id = revision.revision
        texts[i] = ("-- Running upgrade  -> %s\n%s"):format(id, rendered[id].sql or "")
        accepted[id], found[id] = accepted_for(opts, revision), {}
    end
    local judgement = hazards.judge { sql = table.concat(texts, "\n"), dialect = dialect,
        accepted = accepted, lock_timeout = opts.lock_timeout ~= nil }
    for _, finding in ipairs(judgement.findings) do
        table.insert(found[finding.revision] or found[pending[1].revision], finding)
    end
    return found
end

local function class_of(findings, sql)
    local class = sql and "additive" or "unknown"
    for _, finding in ipairs(findings) do
        if finding.effect and rank[finding.effect] > rank[class] then
            class = finding.effect
        end
    end
    return class
end

---Who wrote a file last; nil where no repository tells.
---@return dgrun.git.commit?
local function last_commit(opts, file)
    local found = require("host.git").log { dir = opts.repository or ".", limit = 1,
        to = opts.commit or "HEAD", path = file:sub(#opts.dir + 2) }
    return found and found[1]
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
    local place = check(require("host.dburl").parse(opts.database))
    local rendered = render(opts, list, from, live or false)
    local found = findings_of(opts, list, rendered, place.dialect)
    local planned = {}
    for i, revision in ipairs(list) do
        local id = revision.revision
        local written = last_commit(opts, revision.file)
        planned[i] = {
            revision = id, down = revision.down, message = revision.message,
            file = revision.file, sql = rendered[id].sql,
            author = written and written.author, commit = written and written.commit,
            sql_error = rendered[id].error, sql_from = rendered[id].how,
            class = class_of(found[id], rendered[id].sql), findings = found[id],
        }
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
    local current = migrations.current { database = opts.database, dir = opts.dir }
    local plan = { current = current, heads = revisions.heads(graph), class = "none",
        pending = M.judge(opts, revisions.pending(graph, current, target), current, true) }
    for _, planned in ipairs(plan.pending) do
        plan.class = rank[planned.class] > rank[plan.class] and planned.class or plan.class
    end
    return plan
end

return M
