-- Bringing a database to a revision: forwards, backwards, or by saying so.
local alembic = require "dgrun.migrations.alembic"
local carry_out = require "dgrun.migrations.execute"
local check = require "dgrun.core.check"
local current_of = require "dgrun.migrations.current"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local host_proc = require "host.proc"
local plan_of = require "dgrun.migrations.plan"
local proc = require "dgrun.proc"
local revisions = require "dgrun.migrations.revisions"
local run = require "dgrun.run.context"

local M = {}

local function ids_of(list)
    local ids = {}
    for i, revision in ipairs(list) do
        ids[i] = revision.revision
    end
    return ids
end

local function text_of(ids)
    return #ids > 0 and table.concat(ids, ", ") or "none"
end

local function described(list)
    local lines = {}
    for i, revision in ipairs(list) do
        lines[i] = ("%s %s"):format(revision.revision, revision.message)
    end
    return lines
end

---Which of these revisions the database has, and which it has not.
local function split(opts, wanted)
    local is_left, applied, left = {}, {}, {}
    local now = current_of.read(opts.database, opts.dir)
    for _, revision in ipairs(revisions.between(revisions.read(opts.dir), now, ids_of(wanted))) do
        is_left[revision.revision] = true
    end
    for _, revision in ipairs(wanted) do
        table.insert(is_left[revision.revision] and left or applied, revision.revision)
    end
    return applied, left
end

---The verdict comes from the database, not from the exit status alone.
local function judge(opts, pending, outcome)
    local applied, left = split(opts, pending)
    if outcome.exit.status == 0 and #left == 0 then
        return applied
    end
    carry_out.fail(opts, outcome, {
        op = "migrations.upgrade", applied = applied, pending = left, what = "alembic upgrade",
        state = ("\nApplied: %s. Not applied: %s."):format(text_of(applied), text_of(left)),
        hint = "Fix the first revision that was not applied, then run it again; applied revisions "
            .. "are skipped.",
    })
end

---A plan tells what is dangerous about the SQL, where that can be known.
local function tell_hazards(opts)
    local ok, plan = pcall(plan_of.plan, { dir = opts.dir, database = opts.database,
        target = opts.target, lock_timeout = opts.lock_timeout, env = opts.env })
    if not ok then
        return effect.note("could not judge the SQL: " .. tostring(plan.msg or plan))
    end
    for _, revision in ipairs(plan.pending) do
        if revision.sql_error then
            effect.note(("%s: its SQL cannot be known beforehand: %s. Its source is judged "
                .. "instead"):format(revision.revision, revision.sql_error))
        elseif revision.sql_from == "read-only" then
            effect.note(("%s: its statements were recorded without being sent, so they may differ")
                :format(revision.revision))
        end
        for _, finding in ipairs(revision.findings) do
            if not finding.accepted and finding.severity ~= "note" then
                local why = finding.why .. (finding.detail and ": " .. finding.detail or "")
                effect.note(("%s: %s (%s): %s. Instead: %s"):format(revision.revision,
                    finding.statement, finding.rule, why, finding.instead))
            end
        end
    end
end

local losing = { destructive = true, unknown = true }

---Runs what has to be done before data is lost, such as a backup.
local function before_destructive(opts)
    local command = opts.before_destructive.command
    local ok, plan = pcall(plan_of.plan, { dir = opts.dir, database = opts.database,
        target = opts.target, lock_timeout = opts.lock_timeout, env = opts.env })
    if ok and not losing[plan.class] then
        return effect.note("no pending revision loses data: " .. proc.shown(command)
            .. " is not needed")
    end
    proc.run { argv = command, cwd = opts.dir, env = alembic.environment(opts), on_line = run.log,
        summary = "before data is lost: " .. proc.shown(command) }
end

---Those of some revisions that the database does not have yet.
local function left_of(opts, wanted)
    local _, left = split(opts, wanted)
    local list = {}
    for _, revision in ipairs(wanted) do
        list[#list + 1] = revision.revision == left[#list + 1] and revision or nil
    end
    return list
end

---"+1" counts from where the database is, and another one may have moved it since it was looked at.
local function fixed(target, goal)
    return target:find "[+-]%d" and #goal == 1 and goal[1] or target
end

---@param opts dgrun.migrations.options
function M.upgrade(opts)
    carry_out.check(opts, carry_out.options, "migrations.upgrade")
    local target = opts.target or "head"
    local graph = revisions.read(opts.dir)
    local current = current_of.read(opts.database, opts.dir)
    local pending = revisions.pending(graph, current, target)
    local goal = revisions.targets(graph, target, current)
    if #pending == 0 then
        effect.note(("the database is already at %s"):format(text_of(current)))
        return { from = current, to = current, applied = {} }
    end
    carry_out.warn_of_pooler(opts.database)
    if effect.planning() then
        tell_hazards(opts)
    end
    if opts.before_destructive then
        before_destructive(opts)
    end
    local applied = effect.write {
        kind = "migrations.upgrade", target = "database", name = "applied",
        summary = "apply " .. format.count(#pending, "revision"),
        after = { apply = described(pending), revision = text_of(goal) },
        before = { revision = text_of(current) },
        apply = function()
            return carry_out.alembic(opts, { "upgrade", fixed(target, goal) }, function(outcome)
                return judge(opts, pending, outcome)
            end, function()
                pending = left_of(opts, pending)
                if #pending == 0 then
                    effect.note "another process has applied them in the meantime"
                    return {}
                end
            end)
        end,
    }
    return { from = current, to = goal, applied = effect.planning() and ids_of(pending) or applied }
end

---Which revisions of a path backwards are not applied any more, and which still are.
local function split_back(opts, graph, path, before)
    local gone, undone, left = {}, {}, {}
    local now = current_of.read(opts.database, opts.dir)
    for _, id in ipairs(before) do
        for _, revision in ipairs(revisions.pending(graph, now, id)) do
            gone[revision.revision] = true
        end
    end
    for _, revision in ipairs(path) do
        table.insert(gone[revision.revision] and undone or left, revision.revision)
    end
    return undone, left
end

---@param opts dgrun.migrations.options
function M.downgrade(opts)
    carry_out.check(opts, carry_out.options, "migrations.downgrade")
    if not opts.target then
        err.raise { code = "input.missing", op = "migrations.downgrade",
            msg = "migrations.downgrade needs a target",
            hint = "Give the revision to go back to, -1, or \"base\"." }
    end
    local graph = revisions.read(opts.dir)
    local current = current_of.read(opts.database, opts.dir)
    local path = revisions.downgrade_path(graph, current, opts.target)
    if #path == 0 then
        effect.note(("nothing to undo: the database is at %s"):format(text_of(current)))
        return { from = current, to = current, undone = {} }
    end
    carry_out.warn_of_pooler(opts.database)
    local undone = effect.write {
        kind = "migrations.downgrade", target = "database", name = "undone",
        summary = "undo " .. format.count(#path, "revision"),
        before = { revision = text_of(current) },
        after = { undo = described(path), target = opts.target },
        apply = function()
            local function look()
                local now = current_of.read(opts.database, opts.dir)
                if table.concat(now, " ") ~= table.concat(current, " ") then
                    err.raise { code = "refused.database_moved", op = "migrations.downgrade",
                        msg = ("another process has moved the database from %s to %s in the "
                            .. "meantime")
                            :format(text_of(current), text_of(now)),
                        hint = "Check whether anything is left to undo." }
                end
            end
            return carry_out.alembic(opts, { "downgrade", opts.target }, function(outcome)
                local done, left = split_back(opts, graph, path, current)
                if outcome.exit.status == 0 and #left == 0 then
                    return done
                end
                carry_out.fail(opts, outcome, {
                    op = "migrations.downgrade", undone = done, left = left,
                    what = "alembic downgrade",
                    state = ("\nUndone: %s. Still applied: %s."):format(text_of(done),
                        text_of(left)),
                    hint = "Fix the downgrade of the first revision that is still applied, then "
                        .. "run it again.",
                })
            end, look)
        end,
    }
    local planning = effect.planning()
    return { from = current, undone = planning and ids_of(path) or undone,
        to = planning and {} or current_of.read(opts.database, opts.dir) }
end

---@param opts dgrun.migrations.options
function M.stamp(opts)
    carry_out.check(opts, carry_out.options, "migrations.stamp")
    local target = opts.target or "head"
    local goal = target == "base" and {} or revisions.targets(revisions.read(opts.dir), target)
    local current = current_of.read(opts.database, opts.dir)
    table.sort(goal)
    if table.concat(goal, " ") == table.concat(current, " ") then
        effect.note(("the database is already at %s"):format(text_of(current)))
        return { from = current, to = current }
    end
    effect.write {
        kind = "migrations.stamp", target = "database", name = "stamped",
        summary = ("mark the database as being at %s"):format(text_of(goal)),
        before = { revision = text_of(current) }, after = { revision = text_of(goal) },
        apply = function()
            carry_out.alembic(opts, { "stamp", target }, function(outcome)
                local now = current_of.read(opts.database, opts.dir)
                if outcome.exit.status == 0
                    and table.concat(goal, " ") == table.concat(now, " ") then
                    return
                end
                carry_out.fail(opts, outcome, { op = "migrations.stamp", what = "alembic stamp",
                    state = ("\nThe database is at %s."):format(text_of(now)),
                    hint = "See its output, then run it again." })
            end)
        end,
    }
    return { from = current, to = goal }
end

---@class dgrun.migrations.command
---@field argv string[] {"python", "manage.py", "migrate"}
---@field dir? string where it runs, "."
---@field database? userdata|string URL of the database that it migrates
---@field pending? string[] a command that changes nothing and ends with status 0 when there is
---  nothing to migrate: {"python", "manage.py", "migrate", "--check"}
---@field env? table<string, string|userdata>
---@field lock_timeout? string "10s"
---@field statement_timeout? string
---@field retries? integer
---@field timeout? number seconds

local command_options = {
    argv = "table", dir = "string?", database = "value?", pending = "table?", env = "table?",
    lock_timeout = "string?", statement_timeout = "string?", retries = "integer?",
    timeout = "seconds?",
}

local function nothing_pending(opts)
    local result = check(host_proc.run {
        argv = opts.pending, cwd = opts.dir or ".", env = alembic.environment(opts),
        timeout = opts.timeout or 120, read_only = true,
    })
    return result.status == 0
end

---Migrates with another tool than Alembic, with the same journal, lock and timeouts.
---@param opts dgrun.migrations.command
---@return {ran: boolean}
function M.command(opts)
    carry_out.check(opts, command_options, "migrations.command")
    if opts.pending and nothing_pending(opts) then
        effect.note "nothing to migrate"
        return { ran = false }
    end
    if opts.database then
        carry_out.warn_of_pooler(opts.database)
    end
    local text = table.concat(opts.argv, " ")
    effect.write {
        kind = "migrations.command.run", target = "database", name = "migrated",
        summary = "run the migrations: " .. text,
        apply = function()
            local all = { dir = opts.dir or ".", database = opts.database,
                retries = opts.retries, lock_timeout = opts.lock_timeout }
            carry_out.run(all, function()
                return alembic.spawn(opts.argv, alembic.environment(opts), {
                    dir = all.dir, timeout = opts.timeout })
            end, function(outcome)
                if outcome.exit.status ~= 0 then
                    carry_out.fail(all, outcome, { op = "migrations.command", what = text,
                        state = "", hint = "See its output above. Fix the cause, then "
                            .. "run it again." })
                end
            end)
        end,
    }
    return { ran = true }
end

return M
