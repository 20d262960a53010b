---@meta host.dburl

---Database URLs in SQLAlchemy's syntax.
---@class host.dburl
local M = {}

---@class host.dburl.parts
---@field dialect "postgresql"|"sqlite"
---@field driver? string
---@field user? string
---@field host? string
---@field port? integer
---@field database? string
---@field path? string of SQLite: a file, or ":memory:"
---@field options table<string, string> without passwords

---The parts of a URL, without the password.
---@param url string|host.secret.value
---@return host.dburl.parts?
---@return dgrun.err? dburl.invalid, dburl.unsupported
function M.parse(url) end

---The URL for libpq: without a driver, asyncpg's `ssl` as `sslmode`, only known parameters.
---@param url string|host.secret.value
---@return host.secret.value?
---@return dgrun.err?
function M.libpq(url) end

return M
