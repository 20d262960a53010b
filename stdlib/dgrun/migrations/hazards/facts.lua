-- What a statement does, as facts that the rules look at: {kind, table, object, …}, read from the
-- tree of PostgreSQL's parser.
local alterations = require "dgrun.migrations.hazards.alterations"
local columns = require "dgrun.migrations.hazards.columns"
local parser = require "dgrun.migrations.hazards.parser"
local plpgsql = require "dgrun.migrations.hazards.plpgsql"
local tree = require "dgrun.migrations.hazards.tree"
local unread = require "dgrun.migrations.hazards.unread"

local M = {}

local readers = {}

---The facts of a node.
local function read_node(add, node, schema, text)
    local kind, fields = tree.node(node)
    readers[kind or ""](add, fields, schema, text)
end

local kind_names = {
    OBJECT_MATVIEW = "materialized view", OBJECT_TABCONSTRAINT = "constraint",
    OBJECT_DOMCONSTRAINT = "constraint", OBJECT_STATISTIC_EXT = "statistics",
    OBJECT_FDW = "foreign data wrapper", OBJECT_FOREIGN_SERVER = "server",
    OBJECT_EVENT_TRIGGER = "event trigger",
}

---"OBJECT_VIEW" → "view"
local function kind_name(kind)
    return kind_names[kind] or (kind or "?"):gsub("^OBJECT_", ""):gsub("_", " "):lower()
end

-- CREATE

local function references_of(add, name, constraints)
    for _, constraint in ipairs(constraints) do
        if constraint.references then
            add("reference", { table = constraint.references, from = name, of_create = true,
                object = constraint.references })
        end
    end
end

local function table_element(add, name, element, schema)
    if element.ColumnDef then
        local column = columns.column(element.ColumnDef, schema)
        add("column", { table = name, column = column.name, type = column.type,
            object = name .. "." .. column.name })
        references_of(add, name, column.constraints)
    elseif element.Constraint then
        references_of(add, name, { columns.constraint(element.Constraint, schema) })
    end
end

function readers.CreateStmt(add, node, schema)
    local name = tree.relation(node.relation, schema) or "?"
    add("create_table", { table = name })
    for _, parent in ipairs(node.inhRelations or {}) do
        add(node.partbound and "add_partition" or "inherit",
            { table = tree.relation(parent.RangeVar, schema) })
    end
    for _, element in ipairs(node.tableElts or {}) do
        table_element(add, name, element, schema)
    end
end

function readers.CreateForeignTableStmt(add, node, schema)
    readers.CreateStmt(add, node.base or node.baseStmt or {}, schema)
end

function readers.CreateTableAsStmt(add, node, schema)
    local name = tree.relation((node.into or {}).rel, schema) or "?"
    if node.objtype == "OBJECT_MATVIEW" then
        return add("create_object", { what = "materialized view", object = name })
    end
    add("create_table", { table = name })
end

function readers.IndexStmt(add, node, schema)
    local name = tree.part(node.idxname)
    local is_only = not node.relation.inh
    add("create_index", { object = name, table = tree.relation(node.relation, schema),
        concurrently = node.concurrent or false, index = name,
        -- ON ONLY: the index of a partitioned table alone, which holds no rows.
        is_empty = is_only })
    -- An index lives in the schema of its table, whose name a later DROP INDEX may give.
    local own = name and node.relation.schemaname
    if own and own ~= "public" then
        add("index_name", { index = tree.part(own) .. "." .. name })
    end
end

function readers.CreateTrigStmt(add, node, schema)
    local on = tree.relation(node.relation, schema) or "?"
    add("create_trigger", { table = on, what = "trigger",
        object = on .. "." .. (tree.part(node.trigname) or "?") })
end

---A policy or a rule: made under a lock of its table.
local function owned(what, field, relation)
    return function(add, node, schema)
        local on = tree.relation(node[relation], schema) or "?"
        add("create_owned", { table = on, what = what,
            object = on .. "." .. (tree.part(node[field]) or "?") })
    end
end

readers.CreatePolicyStmt = owned("policy", "policy_name", "table")
readers.RuleStmt = owned("rule", "rulename", "relation")

---Any other object; `name_of` finds its name.
local function creates(what, name_of)
    return function(add, node, schema)
        add("create_object", { what = what, object = name_of(node, schema) or "?" })
    end
end

local function by_list(field)
    return function(node, schema) return tree.name(node[field], schema) end
end

local function by_text(field)
    return function(node) return tree.part(node[field]) end
end

local function by_range(field)
    return function(node, schema) return tree.relation(node[field], schema) end
end

readers.ViewStmt = creates("view", by_range "view")
readers.CreateSeqStmt = creates("sequence", by_range "sequence")
readers.CreateEnumStmt = creates("type", by_list "typeName")
readers.CreateRangeStmt = creates("type", by_list "typeName")
readers.CompositeTypeStmt = creates("type", by_range "typevar")
readers.CreateDomainStmt = creates("domain", by_list "domainname")
readers.CreateSchemaStmt = creates("schema", by_text "schemaname")
readers.CreateExtensionStmt = creates("extension", by_text "extname")
readers.CreatedbStmt = creates("database", by_text "dbname")
readers.CreateStatsStmt = creates("statistics", by_list "defnames")
readers.CreateEventTrigStmt = creates("event trigger", by_text "trigname")
readers.CreateRoleStmt = creates("role", by_text "role")

function readers.CreateFunctionStmt(add, node, schema)
    add("create_object", { what = node.is_procedure and "procedure" or "function",
        object = tree.name(node.funcname, schema) })
end

function readers.DefineStmt(add, node, schema)
    add("create_object", { what = kind_name(node.kind), object = tree.name(node.defnames, schema) })
end

-- DROP

---What goes by these names has rules of its own; all else is an object.
local drop_kinds = { OBJECT_SCHEMA = "drop_schema", OBJECT_TYPE = "drop_type",
    OBJECT_DOMAIN = "drop_type" }
local owned_kinds = { OBJECT_TRIGGER = true, OBJECT_POLICY = true, OBJECT_RULE = true }

local function dropped(add, node, object, schema)
    local kind = node.removeType
    if kind == "OBJECT_TABLE" or kind == "OBJECT_FOREIGN_TABLE" then
        return add("drop_table", { table = tree.object(object, schema) })
    elseif kind == "OBJECT_INDEX" then
        local name = tree.object(object, schema)
        return add("drop_index", { object = name, index = name,
            concurrently = node.concurrent or false })
    elseif owned_kinds[kind] then
        local on, name = tree.owned(object, schema)
        return add("drop_owned", { table = on, what = kind_name(kind), object = on .. "." .. name })
    end
    add(drop_kinds[kind] or "drop_object", { what = kind_name(kind),
        object = tree.object(object, schema) })
end

function readers.DropStmt(add, node, schema)
    for _, object in ipairs(node.objects or {}) do
        dropped(add, node, object, schema)
    end
end

function readers.DropdbStmt(add, node)
    add("drop_database", { what = "database", object = tree.part(node.dbname) })
end

local function drops(what, field)
    return function(add, node)
        add("drop_object", { what = what, object = tree.part(node[field]) or "?" })
    end
end

readers.DropTableSpaceStmt = drops("tablespace", "tablespacename")
readers.DropSubscriptionStmt = drops("subscription", "subname")
readers.DropUserMappingStmt = drops("user mapping", "servername")
readers.DropOwnedStmt = drops("owned objects", "name")

function readers.DropRoleStmt(add, node)
    for _, role in ipairs(node.roles or {}) do
        add("drop_object", { what = "role",
            object = role.RoleSpec and tree.part(role.RoleSpec.rolename) or "?" })
    end
end

-- ALTER

function readers.AlterTableStmt(add, node, schema)
    alterations.read(add, node, schema)
end

function readers.AlterTableMoveAllStmt(add)
    add("move_table", { what = "tablespace" })
end

local column_renames = { OBJECT_COLUMN = true }

function readers.RenameStmt(add, node, schema)
    local kind, name = node.renameType, tree.relation(node.relation, schema)
    local is_of_table = node.relationType == "OBJECT_TABLE"
        or node.relationType == "OBJECT_FOREIGN_TABLE"
    if (kind == "OBJECT_TABLE" or kind == "OBJECT_FOREIGN_TABLE") and name then
        add("rename_table", { table = name, to = tree.part(node.newname) })
    elseif column_renames[kind] and is_of_table and name then
        local column = tree.part(node.subname)
        add("rename_column", { table = name, column = column, object = name .. "." .. column,
            to = tree.part(node.newname) })
    elseif kind == "OBJECT_TABCONSTRAINT" and name then
        add("rename_object", { table = name, what = "constraint",
            object = name .. "." .. tree.part(node.subname) })
    elseif kind == "OBJECT_TRIGGER" or kind == "OBJECT_POLICY" or kind == "OBJECT_RULE" then
        add("rename_object", { table = name, what = kind_name(kind),
            object = (name or "?") .. "." .. tree.part(node.subname or "?") })
    else
        add("rename_object", { what = kind_name(kind),
            object = name or node.object and tree.object(node.object, schema)
                or tree.part(node.subname) or "?" })
    end
end

function readers.AlterObjectSchemaStmt(add, node, schema)
    local name = tree.relation(node.relation, schema)
    if name and (node.objectType == "OBJECT_TABLE"
        or node.objectType == "OBJECT_FOREIGN_TABLE") then
        return add("set_schema", { table = name, to = tree.part(node.newschema) })
    end
    add("rename_object", { what = kind_name(node.objectType),
        object = name or node.object and tree.object(node.object, schema) or "?" })
end

function readers.AlterEnumStmt(add, node, schema)
    local name = tree.name(node.typeName, schema)
    if node.oldVal then
        return add("rename_object", { object = name, what = "type" })
    end
    add("add_enum_value", { object = name, what = "type" })
end

local ADD_CONSTRAINT, SET_NOT_NULL = "C", "O"

---A constraint on a domain is checked in each table that uses it (docs, ALTER DOMAIN).
function readers.AlterDomainStmt(add, node, schema)
    local constraint = (node.def or {}).Constraint or {}
    if node.subtype == ADD_CONSTRAINT and not constraint.skip_validation
        or node.subtype == SET_NOT_NULL then
        add("constrain_domain", { object = tree.name(node.typeName, schema), what = "domain" })
    end
end

-- Rows

---WHERE true and WHERE 1 = 1 leave nothing out.
local function is_limited(condition)
    local kind, fields = tree.node(condition)
    if not kind or tree.constant(condition) == "true" then
        return false
    end
    local left = kind == "A_Expr" and tree.constant(fields.lexpr)
    return not (left and left == tree.constant(fields.rexpr)
        and tree.strings(fields.name)[1] == "=")
end

---Alembic's own table, also by another name (version_table of env.py): it is written one row at a
---time, by WHERE version_num = …
local function is_version_table(node)
    local left = ((node.whereClause or {}).A_Expr or {}).lexpr
    local fields = tree.strings(((left or {}).ColumnRef or {}).fields)
    return node.relation.relname == "alembic_version"
        or #fields > 1 and fields[#fields] == "version_num"
            and fields[#fields - 1] == node.relation.relname
end

---The changes in the parts of a WITH (docs, 7.8.4).
local function with_parts(add, node, schema)
    for _, part in ipairs((node.withClause or {}).ctes or {}) do
        local query = (part.CommonTableExpr or {}).ctequery
        if query then
            read_node(add, query, schema)
        end
    end
end

function readers.UpdateStmt(add, node, schema)
    with_parts(add, node, schema)
    if is_version_table(node) then
        return
    end
    local names = {}
    for i, target in ipairs(node.targetList or {}) do
        names[i] = tree.part(target.ResTarget.name)
    end
    add("update", { table = tree.relation(node.relation, schema), columns = names,
        limited = is_limited(node.whereClause) })
end

function readers.DeleteStmt(add, node, schema)
    with_parts(add, node, schema)
    if not is_version_table(node) then
        add("delete", { table = tree.relation(node.relation, schema),
            limited = is_limited(node.whereClause) })
    end
end

function readers.InsertStmt(add, node, schema)
    with_parts(add, node, schema)
    if node.selectStmt then
        read_node(add, node.selectStmt, schema)
    end
end

---MERGE changes the rows that match, and no others.
function readers.MergeStmt(add, node, schema)
    with_parts(add, node, schema)
    local name, seen = tree.relation(node.relation, schema), {}
    for _, item in ipairs(node.mergeWhenClauses or {}) do
        local clause = item.MergeWhenClause
        local kind = clause.commandType == "CMD_DELETE" and "delete"
            or clause.commandType == "CMD_UPDATE" and "update"
        if kind and not seen[kind] then
            seen[kind] = true
            add(kind, { table = name, limited = true })
        end
    end
end

function readers.TruncateStmt(add, node, schema)
    for _, relation in ipairs(node.relations or {}) do
        add("truncate", { table = tree.relation(relation.RangeVar, schema) })
    end
end

---set_config('lock_timeout', …) is SET.
local function settings(add, node)
    for _, target in ipairs(node.targetList or {}) do
        local call = ((target.ResTarget or {}).val or {}).FuncCall
        local names = tree.strings(call and call.funcname)
        local arguments = call and call.args or {}
        if names[#names] == "set_config" and tree.constant(arguments[1]) == "lock_timeout" then
            add("lock_timeout", { value = tree.constant(arguments[2]) or "?",
                is_local = tree.constant(arguments[3]) == "true" })
        end
    end
end

---SELECT … INTO makes a table.
function readers.SelectStmt(add, node, schema)
    with_parts(add, node, schema)
    if node.intoClause then
        add("create_table", { table = tree.relation(node.intoClause.rel, schema) })
    end
    settings(add, node)
end

-- Settings and transactions

function readers.VariableSetStmt(add, node)
    local value = tree.constant((node.args or {})[1])
    if node.kind == "VAR_RESET_ALL" or node.name == "lock_timeout"
        and (node.kind == "VAR_RESET" or node.kind == "VAR_SET_DEFAULT") then
        add("lock_timeout", { value = "default", is_local = node.is_local })
    elseif node.name == "lock_timeout" then
        add("lock_timeout", { value = value or "?", is_local = node.is_local })
    elseif node.name == "search_path" then
        add("search_path", { schema = value })
    end
end

local transactions = {
    TRANS_STMT_BEGIN = "begin", TRANS_STMT_START = "begin", TRANS_STMT_COMMIT = "finish",
    TRANS_STMT_ROLLBACK = "finish", TRANS_STMT_PREPARE = "finish",
}

function readers.TransactionStmt(add, node)
    local kind = transactions[node.kind]
    if kind then
        add(kind, {})
        if node.chain then
            add("begin", {})
        end
    end
end

-- Upkeep

function readers.VacuumStmt(add, node, schema)
    if not (node.is_vacuumcmd and tree.option(node.options, "full")) then
        return
    end
    for _, item in ipairs(node.rels or { {} }) do
        add("vacuum_full", { what = "VACUUM FULL",
            table = tree.relation((item.VacuumRelation or {}).relation, schema) })
    end
end

function readers.ClusterStmt(add, node, schema)
    add("vacuum_full", { table = tree.relation(node.relation, schema), what = "CLUSTER" })
end

function readers.ReindexStmt(add, node, schema)
    local name = tree.relation(node.relation, schema)
    add("reindex", { object = name or node.name,
        table = node.kind == "REINDEX_OBJECT_TABLE" and name or nil,
        index = node.kind == "REINDEX_OBJECT_INDEX" and name or nil,
        concurrently = tree.option(node.params, "concurrently") })
end

function readers.RefreshMatViewStmt(add, node, schema)
    add("refresh", { concurrently = node.concurrent, what = "materialized view",
        object = tree.relation(node.relation, schema) })
end

function readers.LockStmt(add, node, schema)
    for _, relation in ipairs(node.relations or {}) do
        add("lock_table", { table = tree.relation(relation.RangeVar, schema), mode = node.mode })
    end
end

-- Code

---What the body of a DO does, as far as it is plain SQL.
function readers.DoStmt(add, node, schema, text)
    local parts = plpgsql.statements(node, text)
    for _, part in ipairs(parts or {}) do
        read_node(add, part, schema)
    end
    if not parts or parts.unread then
        add("opaque", { loses = unread.may_lose(text) })
    end
end

---EXPLAIN ANALYZE runs the statement.
function readers.ExplainStmt(add, node, schema, text)
    if tree.option(node.options, "analyze") then
        read_node(add, node.query, schema, text)
    end
end

function readers.PrepareStmt(add, node, schema, text)
    read_node(add, node.query, schema, text)
end

local function opaque(add, _, _, text)
    add("opaque", { loses = unread.may_lose(text or "") })
end

-- Statements that neither lose anything nor hold a lock that matters.
local harmless = {}
for kind in ("CommentStmt GrantStmt GrantRoleStmt CopyStmt VariableShowStmt NotifyStmt ListenStmt "
    .. "UnlistenStmt DiscardStmt DeallocateStmt SecLabelStmt ImportForeignSchemaStmt "
    .. "CheckPointStmt DeclareCursorStmt FetchStmt ClosePortalStmt ReassignOwnedStmt LoadStmt "
    .. "ConstraintsSetStmt"):gmatch("%S+") do
    harmless[kind] = function() end
end

---What is not known is opaque: CALL, EXECUTE, a statement to come. What makes or changes an object
---without a rule is harmless.
setmetatable(readers, { __index = function(_, kind)
    if harmless[kind] or kind:find("^Create") or kind:find("^Alter") then
        return harmless.CommentStmt
    end
    return opaque
end })

---@param statement dgrun.hazards.statement
---@param dialect string
---@param schema? string where unqualified names live
---@return table[]
function M.of(statement, dialect, schema)
    local facts = {}
    local function add(kind, fields)
        fields.kind = kind
        fields.object = fields.object or fields.table
        facts[#facts + 1] = fields
    end
    if not statement.sql then
        add("unread", { loses = unread.may_lose(statement.words or ""),
            reason = statement.reason })
        return facts
    end
    local found, reason = parser.parse(statement.sql)
    if found then
        read_node(add, found, schema, statement.sql)
    else
        unread.read(add, statement.sql, dialect, reason)
    end
    return facts
end

return M
