-- The history of a project in .dgrun/state.db: runs, their steps and effects, and small values that
-- are worth keeping between runs. Every write is durable before it returns; no secret enters, since
-- all text is redacted before it is bound. The truth about machines is not here but on Fly.
local check = require "dgrun.check"
local err = require "dgrun.err"

local M = {}

---The schema this dgrun writes. A file with a newer one is refused.
M.schema = 1

local tables = {
    [[CREATE TABLE runs (id TEXT PRIMARY KEY, name TEXT NOT NULL, script TEXT, input TEXT,
        sandbox INTEGER NOT NULL, host TEXT, pid INTEGER, status TEXT NOT NULL,
        started REAL NOT NULL, finished REAL, error TEXT) WITHOUT ROWID]],
    [[CREATE TABLE steps (run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL,
        name TEXT NOT NULL, status TEXT NOT NULL, started REAL NOT NULL, finished REAL,
        result TEXT, error TEXT, PRIMARY KEY (run, seq), UNIQUE (run, name)) WITHOUT ROWID]],
    [[CREATE TABLE effects (run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL,
        step INTEGER, kind TEXT NOT NULL, target TEXT NOT NULL, summary TEXT NOT NULL,
        before TEXT, after TEXT, status TEXT NOT NULL, started REAL NOT NULL, finished REAL,
        result TEXT, error TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID]],
    [[CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT NOT NULL, changed REAL NOT NULL)
        WITHOUT ROWID]],
}

---@class dgrun.store
---@field path string
---@field db table? nil for a plan of a project without a history
---@field read_only boolean
local Store = {}
Store.__index = Store

local function redacted(text)
    return (require("host.secret").redact(text))
end

---Any value as redacted JSON; nil stays nil.
local function data(value)
    if value == nil then
        return nil
    end
    return redacted(require("dgrun.json").encode(require("dgrun.snapshot").lenient(value)))
end

local function error_data(e)
    if not e then
        return nil
    end
    return data { code = e.code, msg = e.msg, hint = e.hint, where = e.where, step = e.step }
end

---Absent columns are left out: they are NULL.
local function columns(row)
    local names, values, marks = {}, {}, {}
    for name in pairs(row) do
        names[#names + 1] = name
    end
    table.sort(names)
    for i, name in ipairs(names) do
        local value = row[name]
        values[i] = type(value) == "string" and redacted(value) or value
        marks[i] = "?"
    end
    return names, values, marks
end

function Store:insert(into, row)
    local names, values, marks = columns(row)
    check(self.db:exec(("INSERT INTO %s (%s) VALUES (%s)"):format(into,
        table.concat(names, ", "), table.concat(marks, ", ")), values))
end

function Store:update(what, row, where, keys)
    local names, values = columns(row)
    for _, key in ipairs(keys) do
        values[#values + 1] = key
    end
    check(self.db:exec(("UPDATE %s SET %s = ? WHERE %s"):format(what,
        table.concat(names, " = ?, "), where), values))
end

local function wall()
    return require("host.time").wall()
end

local function own_address()
    local host = require("host.fs").read("/proc/sys/kernel/hostname", { limit = 256 })
    local pid = (require("host.fs").read("/proc/self/stat", { limit = 4096 }) or ""):match("^(%d+)")
    return host and host:gsub("%s+$", "") or nil, tonumber(pid)
end

function Store:run_start(r)
    local host, pid = own_address()
    self:insert("runs", {
        id = r.id, name = r.name, script = r.script, input = data(r.input),
        sandbox = r.sandbox and 1 or 0, host = host, pid = pid, status = "running",
        started = r.started_at,
    })
end

function Store:run_end(r)
    self:update("runs", { status = r.status, finished = wall(), error = error_data(r.error) },
        "id = ?", { r.id })
end

function Store:step_start(r, step)
    self:insert("steps", {
        run = r.id, seq = step.seq, name = step.name, status = "running", started = wall(),
    })
end

function Store:step_end(r, step)
    self:update("steps", {
        status = step.status, finished = wall(), result = data(step.result),
        error = error_data(step.error),
    }, "run = ? AND seq = ?", { r.id, step.seq })
end

function Store:effect_intent(r, e)
    self:insert("effects", {
        run = r.id, seq = e.seq, step = e.step and e.step.seq, kind = e.kind, target = e.target,
        summary = e.summary, before = data(e.before), after = data(e.after), status = "intent",
        started = wall(),
    })
end

function Store:effect_end(r, e)
    self:update("effects", {
        status = e.status, finished = wall(), result = data(e.result), error = error_data(e.error),
    }, "run = ? AND seq = ?", { r.id, e.seq })
end

function Store:kv_get(key)
    if not self.db then
        return nil
    end
    local rows = check(self.db:query("SELECT value FROM kv WHERE key = ?", { key }))
    return rows[1] and require("dgrun.json").decode(rows[1].value) or nil
end

function Store:kv_put(key, value)
    if self.read_only then
        return
    end
    check(self.db:exec([[INSERT INTO kv (key, value, changed) VALUES (?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed = excluded.changed]],
        { redacted(key), data(value), wall() }))
end

---Rows of any query, for those who look at the history.
function Store:query(sql, values)
    return self.db and check(self.db:query(sql, values or {})) or {}
end

function Store:close()
    if self.db then
        self.db:close()
        self.db = nil
    end
end

local function schema_of(db)
    return tonumber(check(db:query("PRAGMA user_version", {}))[1].user_version)
end

local function refuse_newer(schema, path)
    if schema > M.schema then
        err.raise {
            code = "store.newer",
            msg = ("%s was written by a newer dgrun: its schema is %d, this one knows %d")
                :format(path, schema, M.schema),
            hint = "Use that dgrun, or move the file away to begin a new history.",
        }
    end
end

---A file that was only begun has no tables yet: it reads as empty.
local function look_into(self)
    local schema = schema_of(self.db)
    refuse_newer(schema, self.path)
    if schema == 0 then
        self:close()
    end
end

local function prepare(self)
    local db, path = self.db, self.path
    for _, pragma in ipairs { "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON" } do
        check(db:query("PRAGMA " .. pragma, {}))
    end
    refuse_newer(schema_of(db), path)
    if schema_of(db) == M.schema then
        return
    end
    -- Another process may have come first: ask again inside of the transaction.
    check(db:exec("BEGIN IMMEDIATE", {}))
    if schema_of(db) == 0 then
        for _, sql in ipairs(tables) do
            check(db:exec(sql, {}))
        end
        check(db:exec("PRAGMA user_version = " .. M.schema, {}))
    end
    check(db:exec("COMMIT", {}))
end

---@param root string the project's folder
---@param opts? {read_only?: boolean} read only: nothing is created
---@return dgrun.store
function M.open(root, opts)
    local fs = require "host.fs"
    local self = setmetatable({
        path = root / ".dgrun/state.db", read_only = opts and opts.read_only or false,
    }, Store)
    if self.read_only then
        if not fs.exists(self.path) then
            return self
        end
    else
        require("dgrun.folder").make(root)
        -- Made here and empty, so that it is private from its first moment.
        check(fs.append(self.path, ""))
    end
    self.db = check(require("host.sqlite").open(self.path, {
        read_only = self.read_only, create = not self.read_only,
    }))
    local ok, e = pcall(self.read_only and look_into or prepare, self)
    if not ok then
        self:close()
        error(e, 0)
    end
    return self
end

---@type table<dgrun.run, {store?: dgrun.store, opening?: any}>
local of_run = setmetatable({}, { __mode = "k" })

---The store of the current run, opened when first used; its tasks share it.
---@return dgrun.store
function M.current()
    local r = require("dgrun.run").current()
    if not r then
        err.raise { code = "store.no_run", msg = "the store is open only while a script runs" }
    end
    local mine = of_run[r] or {}
    of_run[r] = mine
    if mine.store then
        return mine.store
    end
    mine.opening = mine.opening or require("host.task").spawn(function()
        local store = M.open(r.root, { read_only = r.plan or r.journal == false })
        if not store.read_only then
            store:run_start(r)
        end
        return store
    end, { name = "store.open" })
    local ok, result = mine.opening:join()
    if not ok then
        err.raise(result)
    end
    mine.store = result
    return result
end

---@return boolean # did this run use the store so far?
function M.opened(r)
    return of_run[r] ~= nil and of_run[r].store ~= nil
end

---Closes the store of a run that has ended.
function M.release(r)
    if M.opened(r) then
        of_run[r].store:close()
    end
    of_run[r] = nil
end

---A value kept from an earlier run; nil when there is none.
---@param key string
---@return any
function M.kv_get(key)
    return M.current():kv_get(key)
end

---Keeps a value (JSON data, never a secret) for later runs. Does nothing in a plan.
---@param key string
---@param value any
function M.kv_put(key, value)
    M.current():kv_put(key, value)
end

return M
