-- What the body of a DO runs, by the parser of PL/pgSQL: its SQL statements, and the constant texts
-- that it executes. Conditions are not evaluated: each branch counts.
local parser = require "dgrun.migrations.hazards.parser"
local sql = require "host.sql"
local tables = require "dgrun.core.table"
local tree = require "dgrun.migrations.hazards.tree"

local M = {}

---DO … LANGUAGE; plpgsql unless it is named.
local function language_of(node)
    for _, item in ipairs(node.args or {}) do
        if item.DefElem.defname == "language" then
            return tree.constant(item.DefElem.arg) or "?"
        end
    end
    return "plpgsql"
end

local function query_of(expression)
    return ((expression or {}).PLpgSQL_expr or {}).query
end

---Adds the statements of a text of SQL.
local function add_sql(found, text)
    for _, item in ipairs(sql.split(text or "") or { {} }) do
        local part = item.from and not item.comment and parser.parse(text:sub(item.from, item.to))
        if part then
            found[#found + 1] = part
        elseif not item.comment then
            found.unread = true
        end
    end
end

---EXECUTE 'text': readable when it is one constant.
local function add_dynamic(found, expression)
    local text = query_of(expression)
    local select = text and parser.parse("SELECT " .. text)
    local target = select and ((select.SelectStmt or {}).targetList or {})[1]
    local constant = target and tree.constant(target.ResTarget.val)
    if constant then
        return add_sql(found, constant)
    end
    found.unread = true
end

local readers = {}

function readers.PLpgSQL_stmt_execsql(found, node)
    add_sql(found, query_of(node.sqlstmt))
end

function readers.PLpgSQL_stmt_dynexecute(found, node)
    add_dynamic(found, node.query)
end

readers.PLpgSQL_stmt_dynfors = readers.PLpgSQL_stmt_dynexecute

function readers.PLpgSQL_stmt_fors(found, node)
    add_sql(found, query_of(node.query))
end

function readers.PLpgSQL_stmt_call(found)
    found.unread = true
end

---In the order of the names of fields: JSON objects have none.
local function walk(found, node)
    for _, name in ipairs(tables.keys(node)) do
        local value = node[name]
        if readers[name] and type(value) == "table" then
            readers[name](found, value)
        end
        if type(value) == "table" then
            walk(found, value)
        end
    end
end

---@param node table a DoStmt
---@param text? string the statement
---@return table? # trees, with `unread` when there is more; nil when nothing can be read
function M.statements(node, text)
    if not text or language_of(node) ~= "plpgsql" then
        return nil
    end
    local body = parser.parse_plpgsql(text)
    if not body then
        return nil
    end
    local found = {}
    walk(found, body)
    return found
end

return M
