-- What dgrun remembers: runs with their steps and effects, who holds which group, small values that
-- are worth keeping between runs. In .dgrun/state.db, or in the PostgreSQL that DGRUN_STORE names.
-- Every write is durable before it returns. The truth about machines is not here but on Fly.
local context = require "dgrun.run.context"
local dburl = require "host.dburl"
local err = require "dgrun.core.err"
local folder = require "dgrun.run.folder"
local host_task = require "host.task"
local journal = require "dgrun.run.journal"
local json = require "dgrun.core.json"
local rows = require "dgrun.run.store_rows"
local secret = require "host.secret"
local task = require "dgrun.core.task"

local M = {}

---@class dgrun.store.backend
---@field place string for messages
---@field read_only boolean
---@field query fun(self: dgrun.store.backend, sql: string, values?: any[]): table<string, any>[]
---@field close fun(self: dgrun.store.backend)

---@class dgrun.store
---@field backend dgrun.store.backend
---@field read_only boolean
local Store = {}
Store.__index = Store

---Rows of any query, for those who look at the history.
---@param sql string `?` for a value, `@runs` for a table, `@now` for the store's clock
---@param values? any[]
function Store:query(sql, values)
    return self.backend:query(sql, values)
end

---@param key string
function Store:kv_get(key)
    local found = self:query("SELECT value FROM @kv WHERE key = ?", { rows.redacted(key) })[1]
    if found then
        return json.decode(found.value)
    end
end

---@param key string
---@param value any JSON data
function Store:kv_put(key, value)
    if self.read_only then
        return
    end
    self:query([[INSERT INTO @kv (key, value, changed) VALUES (?, ?, @now)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed = excluded.changed]],
        { rows.redacted(key), rows.data(value) })
end

---Keeps a value that only the first one who comes may choose.
---@return any # the value that is kept
function Store:kv_add(key, value)
    if self.read_only then
        local kept = self:kv_get(key)
        if kept == nil then
            return value
        end
        return kept
    end
    self:query([[INSERT INTO @kv (key, value, changed) VALUES (?, ?, @now)
        ON CONFLICT (key) DO NOTHING]], { rows.redacted(key), rows.data(value) })
    return self:kv_get(key)
end

function Store:close()
    self.backend:close()
end

local function url_of_environment()
    local url = secret.from_env "DGRUN_STORE"
    if not url or url:test "empty" then
        return nil
    end
    local place, e = dburl.parse(url)
    if not place or place.dialect ~= "postgresql" then
        err.raise {
            code = "input.invalid", op = "store", cause = e,
            msg = "DGRUN_STORE is not a PostgreSQL URL",
            hint = "The URL looks like postgresql://user:password@host/database. Without it, the "
                .. "store is .dgrun/state.db.",
        }
    end
    return url
end

---@class dgrun.store.options
---@field read_only? boolean nothing is created or changed
---@field sandbox? boolean what happens on the local Fly is nobody else's business
---@field url? userdata|string of a PostgreSQL; that of DGRUN_STORE when absent

---@param root string the project's folder
---@param opts? dgrun.store.options
---@return dgrun.store
function M.open(root, opts)
    opts = opts or {}
    local read_only = opts.read_only or false
    local url = opts.url or (not opts.sandbox and url_of_environment()) or nil
    local backend
    if url then
        backend = require("dgrun.run.store_postgres").open(url, { read_only = read_only })
    else
        if not read_only then
            folder.make(root)
        end
        backend = require("dgrun.run.store_sqlite").open(root / ".dgrun/state.db",
            { read_only = read_only })
    end
    return setmetatable({ backend = backend, read_only = read_only }, Store)
end

---@type table<dgrun.run, {store?: dgrun.store, opening?: any}>
local of_run = setmetatable({}, { __mode = "k" })

---The store of a run, opened when first used; its tasks share it.
---@param r dgrun.run
---@return dgrun.store
function M.of(r)
    local mine = of_run[r] or {}
    of_run[r] = mine
    if mine.store then
        return mine.store
    end
    mine.opening = mine.opening or host_task.spawn(function()
        local store = M.open(r.root, {
            read_only = r.plan or r.journal == false, sandbox = r.sandbox,
        })
        if not store.read_only and not r.past then
            local ok, e = pcall(journal.run_start, store, r)
            if not ok then
                store:close()
                error(e, 0)
            end
        end
        mine.store = store
        return store
    end, { name = "store.open" })
    local ok, result = mine.opening:join()
    if not ok then
        err.raise(result)
    end
    return result
end

---The store of the current run.
---@return dgrun.store
function M.current()
    local r = context.current()
    if not r then
        err.raise { code = "store.no_run", msg = "the store is open only while a script runs" }
    end
    return M.of(r)
end

---Writes to the journal of a run, out of reach of a cancel: what happened is recorded.
---@param r? dgrun.run
---@param method string of the journal
function M.journal(r, method, ...)
    if not r or r.plan or r.journal == false then
        return
    end
    task.shield(function(...)
        journal[method](M.of(r), r, ...)
    end, ...)
end

---Gives a run that goes on the store it was found in.
---@param r dgrun.run
---@param store dgrun.store
function M.adopt(r, store)
    of_run[r] = { store = store }
end

---@return boolean # did this run use the store so far?
function M.opened(r)
    local mine = of_run[r]
    if mine and mine.opening and not mine.store then
        -- Who asked for it may be cancelled; it is opened all the same.
        task.shield(mine.opening.join, mine.opening)
    end
    return mine ~= nil and mine.store ~= nil
end

---@return boolean # is this run in the journal?
function M.known(r)
    return of_run[r] ~= nil and not r.plan and r.journal ~= false
end

---Closes the store of a run that has ended.
function M.release(r)
    if M.opened(r) then
        of_run[r].store:close()
        of_run[r].store = nil
    end
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

---Keeps a value that only the first one who comes may choose, and returns the one that is kept.
---@param key string
---@param value any
---@return any
function M.kv_add(key, value)
    return M.current():kv_add(key, value)
end

return M
