---@meta host.postgres

---PostgreSQL by libpq, asynchronous on the loop.
---@class host.postgres
local M = {}

---@class host.postgres.connection
local connection = {}

---Runs one query at a time; cancelling a query closes the connection. On a read-only connection
---each query is a separate transaction, so that a transaction pooler works too.
---@param sql string one statement
---@param parameters? any[] for $1, $2, …
---@return table<string, string>[]? rows values as text, NULL is absent
---@return dgrun.err? postgres.lost: the connection broke, and is closed; postgres.query, with its
---  `sqlstate`: the server's error
function connection:query(sql, parameters) end

---The hash to use instead of a password in CREATE ROLE or ALTER ROLE, so that the password is not
---in a statement or a log of the server.
---@param role string
---@param password string|host.secret.value
---@return string? hash "SCRAM-SHA-256$…"
---@return dgrun.err?
function connection:scram(role, password) end

function connection:close() end

---In a plan always read-only. Times out after 10 seconds, or after the `connect_timeout` in the
---URL; TCP keepalives are on.
---@param opts {url: string|host.secret.value, read_only?: boolean}
---@return host.postgres.connection?
---@return dgrun.err? postgres.connect
function M.connect(opts) end

return M
