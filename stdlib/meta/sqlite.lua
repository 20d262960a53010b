---@meta host.sqlite

---SQLite in its own thread, one statement at a time.
---@class host.sqlite
local M = {}

---@class host.sqlite.database
local database = {}

---@param sql string one statement
---@param parameters? any[] for its `?`
---@return {changes: integer, last_id: integer}?
---@return dgrun.err?
function database:exec(sql, parameters) end

---@param sql string one statement
---@param parameters? any[] for its `?`
---@return table<string, any>[]? rows NULL is absent
---@return dgrun.err?
function database:query(sql, parameters) end

function database:close() end

---In a plan always read-only.
---@param path string
---@param opts? {read_only?: boolean, create?: boolean}
---@return host.sqlite.database?
---@return dgrun.err?
function M.open(path, opts) end

return M
