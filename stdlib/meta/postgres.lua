---@meta host.postgres

---PostgreSQL by libpq, asynchronous on the loop.
---@class host.postgres
local M = {}

---@class host.postgres.connection
local connection = {}

---One at a time on a connection; one that is cancelled closes it. On a read-only connection each
---is a transaction of its own, so that a pooler in transaction mode may stand before the server.
---@param sql string one statement
---@param parameters? any[] for $1, $2, …
---@return table<string, string>[]? rows values as text, NULL is absent
---@return dgrun.err? postgres.lost: the connection broke, and is closed; postgres.query, with its
---  `sqlstate`: what the server says of the query
function connection:query(sql, parameters) end

---The hash that stands for a password in CREATE ROLE or ALTER ROLE: so it is in no statement, and
---in no log of the server.
---@param role string
---@param password string|host.secret.value
---@return string? hash "SCRAM-SHA-256$…"
---@return dgrun.err?
function connection:scram(role, password) end

function connection:close() end

---In a plan always read only. Gives up after 10 seconds, unless `connect_timeout` in the URL says
---otherwise; TCP keepalives are on.
---@param opts {url: string|host.secret.value, read_only?: boolean}
---@return host.postgres.connection?
---@return dgrun.err? postgres.connect
function M.connect(opts) end

return M
