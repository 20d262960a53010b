-- A store in one file, .dgrun/state.db: in WAL mode, every statement durable before it returns.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local schema = require "dgrun.run.store_schema"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---Seconds that one waits for others who write.
M.patience = 10

---@class dgrun.store.sqlite: dgrun.store.backend
local Sqlite = {}
Sqlite.__index = Sqlite

local words = {
    now = "((julianday('now') - 2440587.5) * 86400.0)",
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT",
    turn = "1 = 1", -- one writes at a time anyway
}

local translated = setmetatable({}, { __index = function(known, sql)
    known[sql] = sql:gsub("@(%l+)", function(name) return words[name] or name end)
    return known[sql]
end })

---@param sql string with `?` for its values, `@name` for a table, `@now` for the store's clock
---@param values? any[]
---@return table<string, any>[] rows NULL is absent
function Sqlite:query(sql, values)
    if not self.db then
        return {}
    end
    local rows, e = self.db:query(translated[sql], values or {})
    if not rows and not err.is(e, "cancelled") then
        e.hint = e.hint or err.is(e, "sqlite.busy")
            and "Another process has been writing to it for 10 s." or nil
    end
    return check(rows, e)
end

function Sqlite:close()
    if self.db then
        self.db:close()
        self.db = nil
    end
end

local function version_of(self)
    return tonumber(self:query("PRAGMA user_version")[1].user_version)
end

---A file that was only begun has no tables yet, one of an earlier dgrun lacks columns: for a plan,
---which changes nothing, both read as empty.
local function look_into(self)
    local version = version_of(self)
    schema.refuse_newer(version, self.place)
    if version < schema.version then
        self:close()
    end
end

---Two who change the mode at once both hold what the other one needs, so SQLite lets neither wait.
local function use_wal(self)
    local deadline = time.now() + M.patience
    while true do
        local ok, e = pcall(self.query, self, "PRAGMA journal_mode = WAL")
        if ok then
            return
        elseif not err.is(e, "sqlite.busy") or time.now() > deadline then
            err.raise(e)
        end
        task.sleep(0.01 * (0.5 + math.random()))
    end
end

local function prepare(self)
    use_wal(self)
    self:query "PRAGMA synchronous = FULL"
    self:query "PRAGMA foreign_keys = ON"
    schema.refuse_newer(version_of(self), self.place)
    if version_of(self) == schema.version then
        return
    end
    -- Another process may have come first: asked again inside of the transaction.
    self:query "BEGIN IMMEDIATE"
    for version = version_of(self) + 1, schema.version do
        for _, statement in ipairs(schema.versions[version]) do
            self:query(statement)
        end
        self:query("PRAGMA user_version = " .. version)
    end
    self:query "COMMIT"
end

---@param path string
---@param opts {read_only: boolean} read only: nothing is created
---@return dgrun.store.sqlite
function M.open(path, opts)
    local self = setmetatable({ place = path, read_only = opts.read_only }, Sqlite)
    if opts.read_only and not fs.exists(path) then
        return self
    end
    -- Nobody but SQLite opens the file: closing it would end the locks that this process has on it.
    -- https://www.sqlite.org/howtocorrupt.html section 2.2
    self.db = check(require("host.sqlite").open(path, {
        read_only = opts.read_only, create = not opts.read_only,
    }))
    local ok, e = pcall(opts.read_only and look_into or prepare, self)
    if not ok then
        self:close()
        error(e, 0)
    end
    return self
end

return M
