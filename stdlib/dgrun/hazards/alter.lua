-- What an ALTER does, as facts: {kind, table, column, …}.
local columns = require "dgrun.hazards.columns"

local M = {}

---A constraint that is added to a table, whether with its column or not.
local function add_constraint(add, name, constraint)
    constraint.table = name
    constraint.object = constraint.name or name
    add("add_constraint", constraint)
    if constraint.references then
        add("reference", { table = constraint.references })
    end
end

local function add_column(add, name, c, schema)
    c:take("if", "not", "exists")
    local column = columns.column(c, schema)
    column.table, column.column, column.object = name, column.name, name .. "." .. column.name
    add("add_column", column)
    add("column", { table = name, column = column.name, type = column.type,
        object = column.object })
    for _, constraint in ipairs(column.constraints) do
        constraint.with_column = true
        add_constraint(add, name, constraint)
    end
end

local function added(add, name, c, schema)
    if c:take("column") then
        return add_column(add, name, c, schema)
    end
    local constraint = columns.constraint(c, schema)
    if constraint then
        add_constraint(add, name, constraint)
    else
        add_column(add, name, c, schema)
    end
end

local function dropped(add, name, c)
    local is_constraint = c:take("constraint")
    c:take("column")
    c:take("if", "exists")
    local what = c:plain_name() or "?"
    local object = name .. "." .. what
    if is_constraint then
        return add("drop_constraint", { table = name, what = "constraint", object = object })
    end
    add("drop_column", { table = name, column = what, object = object })
end

local column_changes = {
    { "set_not_null", "set", "not", "null" }, { "drop_not_null", "drop", "not", "null" },
    { "drop_default", "drop", "default" }, { "drop_default", "drop", "identity" },
    { "drop_default", "drop", "expression" }, { "set_default", "set", "default" },
}

local function column_changed(add, name, c)
    c:take("column")
    local column = c:plain_name() or "?"
    local fields = { table = name, column = column, object = name .. "." .. column }
    if c:take("type") or c:take("set", "data", "type") then
        fields.type = columns.type(c)
        fields.collated, fields.using = c:has("collate"), c:has("using")
        add("alter_type", fields)
        return add("column", { table = name, column = column, type = fields.type,
            object = fields.object })
    elseif c:take("set", "statistics") or c:take("set", "(") then
        return add("weak_alteration", fields)
    end
    for _, change in ipairs(column_changes) do
        if c:take(unpack(change, 2)) then
            return add(change[1], fields)
        end
    end
    add("alteration", fields)
end

local function renamed(add, name, c)
    if c:take("to") then
        return add("rename_table", { table = name, to = c:plain_name() })
    elseif c:take("constraint") then
        local what = c:plain_name() or "?"
        return add("rename_object", { table = name, what = "constraint",
            object = name .. "." .. what })
    end
    c:take("column")
    local column = c:plain_name() or "?"
    add("rename_column", { table = name, column = column, object = name .. "." .. column,
        to = c:take("to") and c:plain_name() or nil })
end

local function set_property(add, name, c)
    if c:take("schema") then
        add("set_schema", { table = name, to = c:plain_name() })
    elseif c:take("logged") or c:take("unlogged") then
        add("set_logged", { table = name })
    elseif c:take("tablespace") or c:take("access", "method") then
        add("move_table", { table = name })
    else
        add(c:is_symbol("(") and "weak_alteration" or "alteration", { table = name })
    end
end

---VALIDATE CONSTRAINT and ATTACH PARTITION take no lock that stops reading or writing the table
---(docs, ALTER TABLE).
local function other(add, name, c, schema)
    if c:take("validate", "constraint") then
        local what = c:plain_name() or "?"
        return add("validate", { table = name, name = what, object = name .. "." .. what })
    elseif c:take("detach", "partition") then
        local part = c:name(schema)
        return add("detach_partition", { table = name, object = part,
            concurrently = c:has("concurrently") })
    end
    add((c:take("attach") or c:take("cluster")) and "weak_alteration" or "alteration",
        { table = name })
end

local actions = {
    add = added, drop = dropped, alter = column_changed, rename = renamed, set = set_property,
}

local function alter_table(add, c, schema)
    c:take("if", "exists")
    c:take("only")
    local name = c:name(schema)
    if not name or c:take("in", "tablespace") then
        return
    end
    c:symbol("*")
    for _, part in ipairs(c:parts()) do
        local action = actions[part:word() or ""]
        if action then
            part:skip()
        end
        (action or other)(add, name, part, schema)
    end
end

local function alter_type(add, name, c)
    if c:take("add", "value") then
        add("add_enum_value", { object = name, what = "type" })
    elseif c:has("drop", "attribute") then
        add("drop_object", { object = name, what = "attribute" })
    end
end

---A constraint on a domain is checked in each table that uses it (docs, ALTER DOMAIN).
local function alter_domain(add, name, c)
    local adds = c:has("add") and not c:has("not", "valid")
    if adds or c:has("set", "not", "null") then
        add("constrain_domain", { object = name, what = "domain" })
    end
end

local changes = { type = alter_type, domain = alter_domain }

---Any other object: what matters is whether its name stays.
local function alter_other(add, c, schema)
    local what = c:word() or "?"
    c:skip()
    while c:word() == "view" or c:word() == "wrapper" or c:word() == "trigger" do
        what = what .. " " .. c:word()
        c:skip()
    end
    c:take("if", "exists")
    local name = c:name(schema) or "?"
    c:parens()
    if c:has("rename") or c:has("set", "schema") then
        return add("rename_object", { object = name, what = what })
    end
    local change = changes[what]
    if change then
        change(add, name, c)
    end
end

---@param add fun(kind: string, fields: table)
---@param c dgrun.hazards.cursor behind ALTER
---@param schema? string where unqualified names live
function M.read(add, c, schema)
    if c:take("table") or c:take("foreign", "table") then
        return alter_table(add, c, schema)
    end
    alter_other(add, c, schema)
end

return M
