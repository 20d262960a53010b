---@meta host.sql

---SQL as PostgreSQL's own lexer and parser read it (libpg_query). Texts have at most 2 MiB.
---Errors: sql.syntax and sql.unterminated, with the byte `at`; sql.too_large.
---@class host.sql
---@field grammar string the major version of PostgreSQL whose grammar it is: "15"
local M = {}

---The tree of a text of statements, as JSON: {version, stmts = {{stmt, stmt_location, stmt_len}}}.
---@param text string
---@return string? json
---@return dgrun.err?
function M.parse(text) end

---The PL/pgSQL of one DO or CREATE FUNCTION, as JSON.
---@param text string
---@return string? json
---@return dgrun.err?
function M.parse_plpgsql(text) end

---@class host.sql.item
---@field from integer the first byte
---@field to integer the last byte
---@field comment? true

---The statements of a text, and the comments between them, by PostgreSQL's lexer. A statement need
---not parse.
---@param text string
---@param opts? {sqlite?: boolean} sqlite: CREATE TRIGGER … BEGIN … END is one statement
---@return host.sql.item[]?
---@return dgrun.err?
function M.split(text, opts) end

---The tokens of a text without its comments.
---@param text string
---@return host.sql.item[]?
---@return dgrun.err?
function M.words(text) end

return M
