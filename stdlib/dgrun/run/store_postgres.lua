-- A store in PostgreSQL, in the schema `dgrun`, for those who share one. Every statement is a
-- transaction of its own and needs nothing of the session, so it works through a transaction
-- pooler; every statement may be made twice, so one whose answer was lost is made again.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local host_task = require "host.task"
local schema = require "dgrun.run.store_schema"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---Seconds that a statement waits for a server that cannot be reached.
M.patience = 30
---Seconds for one try: the connection may have died without a word, so another is made.
M.timeout = 12

local TURN_LOCK = 0x7475726e -- "turn"
local ADVISORY_LOCK = 0x646772756e -- "dgrun"

---@class dgrun.store.postgres: dgrun.store.backend
local Postgres = {}
Postgres.__index = Postgres

local words = {
    now = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
    serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    -- Holds until the statement is committed: rows appear in the order of their numbers.
    turn = ("(SELECT CAST(pg_advisory_xact_lock(%.0f) AS TEXT)) IS NOT NULL"):format(TURN_LOCK),
}

local translated = setmetatable({}, { __index = function(known, sql)
    local count = 0
    known[sql] = sql:gsub("@(%l+)", function(name) return words[name] or "dgrun." .. name end)
        :gsub("%?", function()
            count = count + 1
            return "$" .. count
        end)
    return known[sql]
end })

-- Values come as text; these columns are numbers.
local numbers = {}
for name in ([[sandbox pid started finished seq step changed attempt ticket queued since expires
    now n version left]]):gmatch("%l+") do
    numbers[name] = true
end

-- What a child or a file says may be of any bytes. PostgreSQL takes UTF-8 without NUL.
local function sound(text)
    return (format.utf8(text, "\u{fffd}"):gsub("%z", "\u{fffd}"))
end

local function as_text(values)
    local list = {}
    for i, value in ipairs(values or {}) do
        if type(value) == "number" then
            list[i] = value % 1 == 0 and ("%.0f"):format(value) or ("%.17g"):format(value)
        else
            list[i] = type(value) == "string" and sound(value) or value
        end
    end
    return list
end

local function typed(rows)
    for _, row in ipairs(rows) do
        for name, value in pairs(row) do
            if numbers[name] then
                row[name] = tonumber(value)
            end
        end
    end
    return rows
end

local function connection_of(self)
    if not self.connection then
        self.connection = check(require("host.postgres").connect {
            url = self.url, read_only = self.read_only,
        })
    end
    return self.connection
end

local function once(self, sql, values)
    local rows, e = connection_of(self):query(sql, values)
    if not rows then
        -- Whatever happened, the next statement starts on a connection in a known state.
        self.connection = nil
        err.raise(e)
    end
    return rows
end

local function is_passing(e)
    return err.is(e, "postgres.lost") or err.is(e, "postgres.connect") or err.is(e, "timeout")
        or e.sqlstate == "40001" or e.sqlstate == "40P01"
end

---Until it is answered, or the server stays away for too long.
local function patient(self, sql, values)
    local deadline, delay = time.now() + M.patience, 0.1
    while true do
        local left = math.max(1, deadline - time.now())
        local ok, result = pcall(task.timeout, math.min(M.timeout, left), function()
            return once(self, sql, values)
        end)
        if ok then
            return result
        elseif not is_passing(result) or time.now() + delay > deadline then
            err.raise {
                code = is_passing(result) and "store.unreachable" or "store.failed",
                op = "store", cause = result, sqlstate = result.sqlstate,
                msg = ("the store %s %s"):format(self.place, is_passing(result)
                    and "cannot be reached" or "refused a statement"),
                hint = "DGRUN_STORE names the store. Without it, history and leases are in "
                    .. ".dgrun/.",
            }
        end
        task.sleep(delay * (0.5 + math.random() / 2))
        delay = math.min(delay * 3, 5)
    end
end

---@param sql string with `?` for its values, `@name` for a table, `@now` for the store's clock
---@param values? any[]
---@return table<string, any>[] rows NULL is absent
function Postgres:query(sql, values)
    if self.empty then
        return {}
    end
    -- One statement at a time, each in a task of its own: a cancel of who waits does not cut the
    -- connection in the middle of an answer.
    local before = self.last
    self.last = host_task.spawn(function()
        if before then
            before:join()
        end
        return task.scope(patient, self, translated[sql], as_text(values))
    end, { name = "store" })
    local ok, result = self.last:join()
    if not ok then
        err.raise(result)
    end
    return typed(result)
end

function Postgres:close()
    if self.last then
        if self.read_only then
            self.last:cancel() -- what nobody waits for any more need not be read
        end
        task.shield(self.last.join, self.last)
    end
    if self.connection then
        self.connection:close()
        self.connection = nil
    end
end

local function version_of(self)
    local there = self:query "SELECT to_regclass('dgrun.meta') IS NOT NULL AS there"
    if there[1].there ~= "t" then
        return 0
    end
    return self:query("SELECT coalesce(max(version), 0) AS version FROM @meta")[1].version
end

---All steps from one version to the newest as one statement: it is whole or not at all, and two who
---come at once wait for each other.
local function upgrade_statement()
    local lines = {
        "DO $dgrun$ BEGIN",
        ("PERFORM pg_advisory_xact_lock(%.0f);"):format(ADVISORY_LOCK),
        "CREATE SCHEMA IF NOT EXISTS dgrun;",
        "CREATE TABLE IF NOT EXISTS dgrun.meta (version BIGINT PRIMARY KEY);",
    }
    for version, statements in ipairs(schema.versions) do
        lines[#lines + 1] = ("IF NOT EXISTS (SELECT 1 FROM dgrun.meta WHERE version = %d) THEN")
            :format(version)
        for _, statement in ipairs(statements) do
            lines[#lines + 1] = translated[statement] .. ";"
        end
        lines[#lines + 1] = ("INSERT INTO dgrun.meta VALUES (%d); END IF;"):format(version)
    end
    lines[#lines + 1] = "END $dgrun$"
    return table.concat(lines, "\n")
end

local function prepare(self)
    local version = version_of(self)
    schema.refuse_newer(version, self.place)
    if version == schema.version then
        return
    elseif self.read_only then
        self.empty = true
        return
    end
    self:query(upgrade_statement())
end

---@param url userdata sealed
---@param opts {read_only: boolean}
---@return dgrun.store.postgres
function M.open(url, opts)
    local place = check(dburl.parse(url))
    local self = setmetatable({
        url = dburl.libpq(url), read_only = opts.read_only,
        place = ("postgresql://%s/%s"):format(place.host or "", place.database or ""),
    }, Postgres)
    local ok, e = pcall(prepare, self)
    if not ok then
        self:close()
        error(e, 0)
    end
    return self
end

return M
