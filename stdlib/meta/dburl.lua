---@meta host.dburl

---Database URLs as SQLAlchemy reads them.
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

---All but the password.
---@param url string|host.secret.value
---@return host.dburl.parts?
---@return dgrun.err? dburl.invalid, dburl.unsupported
function M.parse(url) end

---The URL as libpq takes it: no driver, asyncpg's `ssl` as `sslmode`, only known parameters.
---@param url string|host.secret.value
---@return host.secret.value?
---@return dgrun.err?
function M.libpq(url) end

return M
