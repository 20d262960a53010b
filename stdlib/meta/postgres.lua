---@meta host.postgres

---PostgreSQL by libpq, asynchronous on the loop.
---@class host.postgres
local M = {}

---@class host.postgres.connection
local connection = {}

---@param sql string one statement
---@param parameters? any[] for $1, $2, …
---@return table<string, string>[]? rows values as text, NULL is absent
---@return dgrun.err?
function connection:query(sql, parameters) end

function connection:close() end

---In a plan always read only.
---@param opts {url: string|host.secret.value, read_only?: boolean}
---@return host.postgres.connection?
---@return dgrun.err?
function M.connect(opts) end

return M
