-- Columns and constraints, as CREATE TABLE and ALTER TABLE … ADD have them in the tree.
local tree = require "dgrun.migrations.hazards.tree"

local M = {}

local function set(words)
    local found = {}
    for word in words:gmatch("%S+") do
        found[word] = true
    end
    return found
end

local serials = set "serial serial2 serial4 serial8 bigserial smallserial"

-- Functions that are not volatile (docs, 38.7 "Function Volatility Categories"): PostgreSQL 11
-- and later computes them once. A function that is not here is taken for volatile, as is the
-- default of CREATE FUNCTION.
local steady = set("now transaction_timestamp statement_timestamp timezone date_trunc date_part "
    .. "extract make_date make_interval make_timestamp to_timestamp to_date to_char to_number "
    .. "to_json to_jsonb json_build_object jsonb_build_object json_build_array "
    .. "jsonb_build_array jsonb_object array_fill lower upper concat length md5 repeat replace "
    .. "trim btrim abs round floor ceil current_setting current_database current_schema uuid_nil")

---The first function of an expression that may give each row another value.
---@param node any
---@return string?
function M.volatile(node)
    if type(node) ~= "table" then
        return nil
    end
    local call = node.FuncCall
    if call then
        local names = tree.strings(call.funcname)
        local name = names[#names]
        if not (steady[name] and (#names == 1 or names[1] == "pg_catalog")) then
            return name
        end
    end
    for _, part in pairs(node) do
        local found = M.volatile(part)
        if found then
            return found
        end
    end
end

---The column of CHECK (c IS NOT NULL).
local function not_null_of(check)
    local test = check and check.NullTest
    local column = test and test.nulltesttype == "IS_NOT_NULL" and test.arg.ColumnRef
    return column and #column.fields == 1 and tree.part(tree.strings(column.fields)[1]) or nil
end

local kinds = {
    CONSTR_CHECK = "check", CONSTR_UNIQUE = "unique", CONSTR_PRIMARY = "primary key",
    CONSTR_FOREIGN = "foreign key", CONSTR_EXCLUSION = "exclude", CONSTR_NOTNULL = "not null",
}

---@param node table a Constraint
---@param schema? string
---@return table? constraint {type, name, not_valid, using_index, not_null_of, references}
function M.constraint(node, schema)
    local kind = kinds[node.contype]
    return kind and {
        type = kind, name = tree.part(node.conname), not_valid = node.skip_validation,
        using_index = node.indexname ~= nil,
        not_null_of = kind == "check" and not_null_of(node.raw_expr)
            or kind == "not null" and tree.part(tree.strings(node.keys)[1]) or nil,
        references = tree.relation(node.pktable, schema),
    }
end

local properties = {}

function properties.CONSTR_NOTNULL(column)
    column.not_null = true
end

function properties.CONSTR_DEFAULT(column, node)
    column.default = true
    column.null_default = tree.is_null(node.raw_expr)
    column.volatile = M.volatile(node.raw_expr)
end

function properties.CONSTR_IDENTITY(column)
    column.identity = true
end

function properties.CONSTR_GENERATED(column)
    column.stored = true
end

---@param node table a ColumnDef
---@param schema? string
---@return table column {name, type, not_null, default, volatile, serial, identity, stored, …}
function M.column(node, schema)
    local column = { name = tree.part(node.colname) or "?", type = tree.type(node.typeName),
        constraints = {} }
    column.serial = serials[column.type]
    for _, item in ipairs(node.constraints or {}) do
        local found = item.Constraint or {}
        local property = properties[found.contype]
        if property then
            property(column, found)
        else
            table.insert(column.constraints, M.constraint(found, schema))
        end
    end
    return column
end

return M
