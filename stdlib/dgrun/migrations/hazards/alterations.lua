-- What an ALTER TABLE does, as facts: {kind, table, column, …}.
local columns = require "dgrun.migrations.hazards.columns"
local tree = require "dgrun.migrations.hazards.tree"

local M = {}

---A constraint that is added to a table, whether with its column or not.
local function add_constraint(add, name, constraint)
    constraint.table = name
    constraint.object = constraint.name or name
    add("add_constraint", constraint)
    if constraint.references then
        add("reference", { table = constraint.references, from = name })
    end
end

---Facts of a column that is added; `columns.column` has read it.
---@param add fun(kind: string, fields: table)
---@param name string of the table
---@param column table
function M.add_column(add, name, column)
    column.table, column.column, column.object = name, column.name, name .. "." .. column.name
    add("add_column", column)
    add("column", { table = name, column = column.name, type = column.type,
        object = column.object })
    for _, constraint in ipairs(column.constraints) do
        constraint.with_column = true
        add_constraint(add, name, constraint)
    end
end

M.add_constraint = add_constraint

local readers = {}

function readers.AT_AddColumn(add, name, cmd, schema)
    M.add_column(add, name, columns.column(cmd.def.ColumnDef, schema))
end

function readers.AT_AddConstraint(add, name, cmd, schema)
    local constraint = columns.constraint(cmd.def.Constraint, schema)
    if constraint then
        add_constraint(add, name, constraint)
    end
end

function readers.AT_DropColumn(add, name, cmd)
    local column = tree.part(cmd.name)
    add("drop_column", { table = name, column = column, object = name .. "." .. column })
end

function readers.AT_DropConstraint(add, name, cmd)
    add("drop_constraint", { table = name, what = "constraint",
        object = name .. "." .. tree.part(cmd.name) })
end

function readers.AT_ValidateConstraint(add, name, cmd)
    local constraint = tree.part(cmd.name)
    add("validate", { table = name, name = constraint, object = name .. "." .. constraint })
end

function readers.AT_AlterColumnType(add, name, cmd)
    local column, def = tree.part(cmd.name), cmd.def.ColumnDef
    local object, kind = name .. "." .. column, tree.type(def.typeName)
    add("alter_type", { table = name, column = column, object = object, type = kind,
        collated = def.collClause ~= nil, using = def.raw_default ~= nil })
    add("column", { table = name, column = column, type = kind, object = object })
end

---A change of one property of a column.
local function of_column(kind)
    return function(add, name, cmd)
        local column = tree.part(cmd.name)
        add(kind, { table = name, column = column, object = name .. "." .. column })
    end
end

readers.AT_SetNotNull, readers.AT_DropNotNull =
    of_column "set_not_null", of_column "drop_not_null"
readers.AT_DropIdentity, readers.AT_DropExpression =
    of_column "drop_default", of_column "drop_default"

function readers.AT_ColumnDefault(add, name, cmd)
    of_column(cmd.def and "set_default" or "drop_default")(add, name, cmd)
end

function readers.AT_DetachPartition(add, name, cmd, schema)
    local part = cmd.def.PartitionCmd
    local partition = tree.relation(part.name, schema)
    add("detach_partition", { table = name, object = partition, concurrently = part.concurrent })
    add("detached", { table = partition })
end

function readers.AT_AttachPartition(add, name, cmd, schema)
    add("weak_alteration", { table = name })
    -- The part is locked whole while its rows are checked (docs, ALTER TABLE).
    add("attach_partition", { table = tree.relation(cmd.def.PartitionCmd.name, schema) })
end

local function plain(kind)
    return function(add, name)
        add(kind, { table = name })
    end
end

readers.AT_SetLogged, readers.AT_SetUnLogged = plain "set_logged", plain "set_logged"
readers.AT_SetTableSpace, readers.AT_SetAccessMethod = plain "move_table", plain "move_table"

-- Under SHARE UPDATE EXCLUSIVE (docs, ALTER TABLE).
for _, subtype in ipairs { "AT_SetStatistics", "AT_SetOptions", "AT_ResetOptions",
    "AT_SetRelOptions", "AT_ResetRelOptions", "AT_ClusterOn", "AT_DropCluster" } do
    readers[subtype] = plain "weak_alteration"
end

-- Under SHARE ROW EXCLUSIVE.
for _, subtype in ipairs { "AT_EnableTrig", "AT_EnableAlwaysTrig", "AT_EnableReplicaTrig",
    "AT_DisableTrig", "AT_EnableTrigAll", "AT_DisableTrigAll", "AT_EnableTrigUser",
    "AT_DisableTrigUser" } do
    readers[subtype] = plain "switch_trigger"
end

---@param add fun(kind: string, fields: table)
---@param statement table an AlterTableStmt
---@param schema? string where unqualified names live
function M.read(add, statement, schema)
    local name = tree.relation(statement.relation, schema)
    local is_table = statement.objtype == "OBJECT_TABLE"
        or statement.objtype == "OBJECT_FOREIGN_TABLE"
    for _, item in ipairs(name and statement.cmds or {}) do
        local cmd = item.AlterTableCmd
        if is_table then
            local read = readers[cmd.subtype] or plain "alteration"
            read(add, name, cmd, schema)
        elseif cmd.subtype == "AT_DropColumn" then
            add("drop_object", { object = name, what = "attribute" })
        end
    end
end

return M
