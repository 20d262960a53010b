-- Runs a tool that migrates a database: alone on it, telling who keeps it waiting, once more when
-- only a lock was in the way, and never stopped in the middle.
local alembic = require "dgrun.migrations.alembic"
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local lock = require "dgrun.migrations.lock"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"

local M = {}

local RETRIES = 4
---Seconds before the first new try; each later one waits twice as long.
M.retry_seconds = 2

---@class dgrun.migrations.outcome
---@field exit {status: integer, signal?: integer}
---@field lines string[] the last ones of its output
---@field blockers dgrun.migrations.blocker[]
---@field tries integer
---@field locked boolean it gave up on a lock

---Did a statement give up because somebody else held its lock? SQLSTATE 55P03.
local function is_locked_out(lines)
    local text = table.concat(lines, "\n")
    return text:find("LockNotAvailable", 1, true) ~= nil
        or text:find("canceling statement due to lock timeout", 1, true) ~= nil
end

---Runs the tool once, looking on who keeps it waiting.
---@param opts {database?: userdata|string}
---@param tool fun(): table, string[]
local function once(opts, tool)
    local place = opts.database and check(dburl.parse(opts.database))
    if not place or place.dialect ~= "postgresql" then
        return {}, tool()
    end
    return lock.watch_blockers({
        url = check(dburl.libpq(opts.database)),
        application = alembic.application_name(), tell = effect.note,
    }, tool)
end

---Again, later each time, as long as only a lock is in the way.
local function with_retries(opts, tool)
    local tries = 0
    while true do
        local blockers, exit, lines = once(opts, tool)
        tries = tries + 1
        local locked = exit.status ~= 0 and is_locked_out(lines)
        if not locked or tries > (opts.retries or RETRIES) or run.is_stopping() then
            return { exit = exit, lines = lines, blockers = blockers, tries = tries,
                locked = locked }
        end
        local pause = M.retry_seconds * 2 ^ (tries - 1)
        effect.note(("could not get a lock within %s; trying again in %g s"):format(
            opts.lock_timeout or "its time", pause))
        task.sleep(pause)
    end
end

---@generic T
---@param opts dgrun.migrations.options
---@param tool fun(): {status: integer, signal?: integer}, string[]
---@param judge fun(outcome: dgrun.migrations.outcome): T looks at what became of it
---@param look? fun(): T? once it is alone, at what others did; after a value nothing is run
---@return T
function M.run(opts, tool, judge, look)
    local function go()
        local found = look and look()
        if found ~= nil then
            return found
        end
        return run.finish("the migrations, which are never stopped midway", function()
            return judge(with_retries(opts, tool))
        end)
    end
    if not opts.database then
        return go()
    end
    return lock.with({
        database = opts.database, dir = opts.dir, application = alembic.application_name(),
    }, go)
end

---The same for Alembic.
---@generic T
---@param opts dgrun.migrations.options
---@param words string[] "upgrade", "head"
---@param judge fun(outcome: dgrun.migrations.outcome): T
---@param look? fun(): T?
---@return T
function M.alembic(opts, words, judge, look)
    return M.run(opts, function() return alembic.run(opts, words) end, judge, look)
end

---What says nothing about the reason, though it comes last: SQLAlchemy's reference to its manual,
---warnings of Python's at its end.
local function is_chatter(line)
    return not line:find "%S" or line:find("^%(Background on this error at") ~= nil
        or line:find "^sys:%d+: %a+Warning" ~= nil
end

---The reason in what a tool said last: Python's exception, or the last line.
local function last_words(lines)
    local last
    for i = #lines, 1, -1 do
        if lines[i]:find "^[%w_.]*%u[%w_]+: " and not is_chatter(lines[i]) then
            return lines[i]
        end
        last = last or not is_chatter(lines[i]) and lines[i] or nil
    end
    return last or "it printed nothing"
end

---What drivers say of a database that they did not get into.
local no_way_in = { "Connection refused", "password authentication failed",
    'database "[^"]+" does not exist', "could not translate host name",
    "Name or service not known", "Connect call failed", "unable to open database file" }

---Some reasons lie outside of the revisions, and have a way out of their own. SQLSTATE 08P01 is of
---PgBouncer, which passes on a few settings only.
---https://www.pgbouncer.org/config.html#ignore_startup_parameters
local function special_hint(lines)
    local text = table.concat(lines, "\n")
    local module = text:match "ModuleNotFoundError: No module named '([^'\n]+)'"
    local file = text:match "FileNotFoundError: %[Errno 2%] No such file or directory: '([^'\n]+)'"
    if module then
        return ("Install %s for the Python that runs Alembic, such as that of .venv."):format(
            module)
    elseif file then
        return ("Create %s, or correct the path where it is read."):format(file)
    elseif text:find("unsupported startup parameter", 1, true) then
        return "The URL belongs to a connection pooler, which accepts no timeouts. Migrate with "
            .. "the "
            .. "direct URL of the database, or omit lock_timeout and statement_timeout; migrations "
            .. "then wait without a limit."
    end
    for _, sign in ipairs(no_way_in) do
        if last_words(lines):find(sign) then
            return "Is the database up, and is the URL the one of this environment?"
        end
    end
end

---The error of a tool that did not do what it should.
---@param opts dgrun.migrations.options
---@param outcome dgrun.migrations.outcome
---@param fields {what: string, state: string, hint: string}
function M.fail(opts, outcome, fields)
    local reasons = {}
    for i, blocker in ipairs(outcome.blockers) do
        reasons[i] = "held by " .. lock.describe_blocker(blocker)
    end
    local exit = outcome.exit
    fields.code = outcome.locked and "migrations.locked" or "migrations.failed"
    fields.exit_status, fields.lines = exit.status, outcome.lines
    fields.details = #reasons > 0 and { { title = "lock", lines = reasons } } or nil
    fields.msg = ("%s ended with %s: %s%s"):format(fields.what,
        exit.signal and "signal " .. exit.signal or "status " .. tostring(exit.status),
        outcome.locked and ("could not get a lock within %s, %d times"):format(
            opts.lock_timeout or "its time", outcome.tries) or last_words(outcome.lines),
        fields.state)
    fields.hint = special_hint(outcome.lines) or fields.hint
    if outcome.locked then
        fields.hint = "Run it again after the session that holds the lock has ended; applied "
            .. "revisions are skipped."
    end
    fields.what, fields.state = nil, nil
    err.raise(fields)
end

---Tells of a URL behind which timeouts and some migrations do not work.
---@param database userdata|string
function M.warn_of_pooler(database)
    local place = check(dburl.parse(database))
    local host = place.host or ""
    local named = host:find("pooler", 1, true) or host:find("bouncer", 1, true)
    if place.dialect == "postgresql" and (place.port == 6432 or named) then
        effect.note(("%s looks like a connection pooler: timeouts may not reach the database, and "
            .. "a transaction pooler breaks some migrations. Migrate with the direct URL."):format(
            host))
    end
end

---What all functions that migrate take.
---@type table<string, string>
M.options = {
    dir = "string", database = "value", target = "string?", lock_timeout = "string?",
    statement_timeout = "string?", timeout = "seconds?", env = "table?", retries = "integer?",
    before_destructive = "table?",
}

---@param opts table
---@param spec table
---@param op string
function M.check(opts, spec, op)
    check.options(opts, spec, op)
    for _, name in ipairs { "lock_timeout", "statement_timeout" } do
        if opts[name] and not opts[name]:match("^%d+%a*$") then
            err.raise { code = "input.invalid", op = op,
                msg = ("%s: %s must be a duration such as 10s, not "
                    .. "'%s'"):format(op, name, opts[name]) }
        end
    end
end

return M
