-- The rules. Ids are squawk's where squawk (github.com/sbdchd/squawk) has the rule; `also` is a
-- plainer name that an acceptance may use. Locks are those of PostgreSQL's docs, ALTER TABLE and
-- 13.3.1 "Table-Level Locks".
local locks = require "dgrun.migrations.hazards.locks"
local types = require "dgrun.migrations.hazards.types"

---@class dgrun.hazards.rule
---@field id string
---@field also? string another name for it
---@field on string the kind of fact; several with | between
---@field severity "danger"|"warning"|"note"
---@field effect? "destructive"|"rewriting" what it makes of the class
---@field when? fun(fact: table, state: dgrun.hazards.state): boolean?
---@field any? boolean holds for what is new, too
---@field unless_new_column? boolean holds not for a column that is new
---@field sqlite? boolean SQLite is judged by it, too
---@field old_code? boolean code from before it fails, although nothing is lost
---@field why string
---@field instead string

local MANY_TABLES, MANY_ALTERATIONS = 3, 8

local function not_concurrent(fact)
    return not fact.concurrently and not fact.is_empty
end

local function in_transaction(fact, state)
    return fact.concurrently and state.transaction
end

local function constraint(kind)
    return function(fact)
        return fact.type == kind and not fact.not_valid and not fact.using_index
    end
end

local function of_kind(field)
    return function(fact)
        return fact[field]
    end
end

local function whole_table(fact)
    return not fact.limited
end

local function lacks_value(fact)
    return fact.not_null and (not fact.default or fact.null_default)
        and not (fact.serial or fact.identity or fact.stored)
end

---@type dgrun.hazards.rule[]
return {
    {
        id = "require-concurrent-index-creation", also = "create-index-not-concurrent",
        on = "create_index", severity = "danger", effect = "rewriting", when = not_concurrent,
        why = "the table cannot be written while its rows are read into the index",
        instead = "op.create_index(…, postgresql_concurrently=True) within "
            .. "op.get_context().autocommit_block()",
    },
    {
        id = "require-concurrent-index-deletion", also = "drop-index-not-concurrent",
        on = "drop_index", severity = "warning", when = not_concurrent,
        why = "the table is locked even for reading, and waits for each query that runs on it",
        instead = "op.drop_index(…, postgresql_concurrently=True) within "
            .. "op.get_context().autocommit_block()",
    },
    {
        id = "drop-index", on = "drop_index", severity = "note", effect = "destructive",
        sqlite = true,
        why = "queries that used the index read the whole table, and the index no longer enforces "
            .. "uniqueness",
        instead = "check in pg_stat_user_indexes that nothing uses it",
    },
    {
        id = "reindex-not-concurrent", on = "reindex", severity = "danger", effect = "rewriting",
        when = not_concurrent,
        why = "the table cannot be written while the index is rebuilt",
        instead = "REINDEX … CONCURRENTLY, outside of a transaction",
    },
    {
        id = "ban-concurrent-index-creation-in-transaction", also = "concurrent-in-transaction",
        on = "create_index|drop_index|reindex|detach_partition", severity = "danger", any = true,
        when = in_transaction,
        why = "CONCURRENTLY fails within a transaction",
        instead = "with op.get_context().autocommit_block(): …",
    },
    {
        id = "adding-required-field", also = "add-column-not-null-without-default",
        on = "add_column", severity = "danger", when = lacks_value, old_code = true, sqlite = true,
        why = "it fails when the table has rows, and code that does not know the column cannot "
            .. "insert",
        instead = "add it with a server_default, or nullable",
    },
    {
        id = "new-field-becomes-required", also = "drop-default-of-required-field",
        on = "drop_default|set_not_null", severity = "warning", old_code = true, sqlite = true,
        when = function(fact, state)
            return state:becomes_required(fact)
        end,
        why = "code that does not know the column can no longer insert rows",
        instead = "keep the server_default until all code that runs gives the value",
    },
    {
        id = "adding-field-with-default", also = "add-column-volatile-default",
        on = "add_column", severity = "danger", effect = "rewriting", when = of_kind "volatile",
        why = "each row needs its own value: the table is rewritten while it is locked",
        instead = "add the column without the default, set the default after it, fill the rows in "
            .. "batches",
    },
    {
        id = "add-column-serial", on = "add_column", severity = "danger", effect = "rewriting",
        when = function(fact)
            return fact.serial or fact.identity
        end,
        why = "each row gets a number: the table is rewritten while it is locked",
        instead = "add an empty column with a sequence as its default, fill the rows in batches",
    },
    {
        id = "add-column-generated-stored", on = "add_column", severity = "danger",
        effect = "rewriting", when = of_kind "stored",
        why = "the value is computed for each row: the table is rewritten while it is locked",
        instead = "a plain column with a trigger, filled in batches; or a view",
    },
    {
        id = "changing-column-type", also = "alter-column-type", on = "alter_type",
        severity = "danger", effect = "rewriting",
        when = function(fact, state)
            return not types.is_cheap(state.types[fact.table .. "." .. fact.column], fact)
        end,
        why = "unless the old type is binary compatible, the table and its indexes are rewritten "
            .. "while it is locked",
        instead = "a new column, filled in batches; accept it if you know that it widens the type "
            .. "(varchar(n) to a larger one or to text)",
    },
    {
        id = "adding-not-nullable-field", also = "set-not-null", on = "set_not_null",
        severity = "danger", effect = "rewriting",
        when = function(fact, state)
            return not state.valid_not_null[fact.table .. "." .. fact.column]
        end,
        why = "the whole table is read while it is locked, unless a valid CHECK proves it",
        instead = "ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; VALIDATE CONSTRAINT in "
            .. "another transaction; then SET NOT NULL (PostgreSQL 12 and later)",
    },
    {
        id = "add-not-null-constraint", on = "add_constraint", severity = "danger",
        effect = "rewriting", when = constraint "not null",
        why = "the whole table is read while it is locked",
        instead = "ADD CONSTRAINT … NOT NULL … NOT VALID, then VALIDATE CONSTRAINT",
    },
    {
        id = "adding-foreign-key-constraint", also = "add-foreign-key", on = "add_constraint",
        severity = "danger", effect = "rewriting", when = constraint "foreign key",
        why = "neither table can be written while each row is looked up",
        instead = "op.create_foreign_key(…, postgresql_not_valid=True), then VALIDATE CONSTRAINT "
            .. "in another transaction",
    },
    {
        id = "constraint-missing-not-valid", also = "add-check", on = "add_constraint",
        severity = "danger", effect = "rewriting", when = constraint "check",
        why = "the whole table is read while it is locked",
        instead = "ADD CONSTRAINT … CHECK … NOT VALID, then VALIDATE CONSTRAINT in another "
            .. "transaction",
    },
    {
        -- squawk has this within constraint-missing-not-valid.
        id = "validate-in-same-transaction", on = "validate", severity = "danger",
        effect = "rewriting",
        when = function(fact, state)
            return state.transaction and state.transaction.not_valid[fact.object]
        end,
        why = "the lock of ADD CONSTRAINT is still held while the table is read",
        instead = "validate in another revision, with transaction_per_migration, or within "
            .. "op.get_context().autocommit_block()",
    },
    {
        id = "disallowed-unique-constraint", also = "add-unique", on = "add_constraint",
        severity = "danger", effect = "rewriting", when = constraint "unique",
        why = "the table is locked even for reading while the index is built",
        instead = "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX",
    },
    {
        id = "adding-serial-primary-key-field", also = "add-primary-key", on = "add_constraint",
        severity = "danger", effect = "rewriting", when = constraint "primary key",
        why = "the table is locked even for reading while the index is built",
        instead = "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … PRIMARY KEY USING INDEX",
    },
    {
        id = "add-exclusion", on = "add_constraint", severity = "danger", effect = "rewriting",
        when = constraint "exclude",
        why = "the table is locked even for reading while the index is built; there is no "
            .. "concurrent way",
        instead = "do it while nothing writes the table, with a lock_timeout",
    },
    {
        id = "ban-alter-domain-with-add-constraint", also = "constrain-domain",
        on = "constrain_domain", severity = "danger", effect = "rewriting",
        why = "each table with a column of the domain is read while it is locked",
        instead = "ALTER DOMAIN … ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT",
    },
    {
        id = "ban-drop-column", also = "drop-column", on = "drop_column", severity = "danger",
        effect = "destructive", sqlite = true, unless_new_column = true,
        why = "its data is lost, and currently running code still selects it",
        instead = "first deploy code that does not use it, drop it in a later deploy",
    },
    {
        id = "ban-drop-table", also = "drop-table", on = "drop_table", severity = "danger",
        effect = "destructive", sqlite = true,
        why = "its data is lost, and currently running code may still use it",
        instead = "first deploy code that does not use it, drop it in a later deploy",
    },
    {
        id = "batch-copy", on = "batch_copy", severity = "note", effect = "rewriting",
        sqlite = true,
        why = "Alembic's batch mode copies the table into another and renames that; whether "
            .. "columns vanish cannot be seen in the SQL",
        instead = "check in the revision that it drops no column that is in use",
    },
    {
        id = "drop-constraint", on = "drop_constraint", severity = "warning",
        effect = "destructive", sqlite = true,
        why = "rows that violate it may be added, and then it cannot be restored",
        instead = "add the new constraint before dropping the old one",
    },
    {
        id = "drop-object", on = "drop_object|drop_owned", severity = "warning",
        effect = "destructive", sqlite = true,
        why = "currently running code may still use it",
        instead = "first deploy code that does not use it, drop it in a later deploy",
    },
    {
        id = "drop-schema", on = "drop_schema", severity = "danger", effect = "destructive",
        why = "everything in it may be lost",
        instead = "drop its contents by name, in a later deploy",
    },
    {
        id = "ban-drop-database", also = "drop-database", on = "drop_database",
        severity = "danger", effect = "destructive", any = true,
        why = "all of its data is lost",
        instead = "do not drop a database in a migration",
    },
    {
        id = "drop-type", on = "drop_type", severity = "danger", effect = "destructive",
        why = "currently running code may still use it; CASCADE also drops its columns",
        instead = "first deploy code that does not use it, drop it in a later deploy",
    },
    {
        id = "enum-value-in-transaction", on = "add_enum_value", severity = "warning",
        when = function(_, state)
            return state.transaction ~= nil
        end,
        why = "the value cannot be used before the transaction ends; before PostgreSQL 12 it fails",
        instead = "with op.get_context().autocommit_block(): op.execute(\"ALTER TYPE …\")",
    },
    {
        id = "renaming-column", also = "rename-column", on = "rename_column", severity = "danger",
        effect = "destructive", sqlite = true, unless_new_column = true,
        why = "currently running code uses the old name",
        instead = "a new column, written together with the old one until no code reads the old one",
    },
    {
        id = "renaming-table", also = "rename-table", on = "rename_table", severity = "danger",
        effect = "destructive", sqlite = true,
        why = "currently running code uses the old name",
        instead = "keep the name in the database (__tablename__), or leave a view behind",
    },
    {
        id = "rename-object", on = "rename_object", severity = "warning", effect = "destructive",
        sqlite = true,
        why = "code and later revisions that use the old name fail",
        instead = "keep the name",
    },
    {
        id = "alter-table-set-schema", on = "set_schema", severity = "danger",
        effect = "destructive",
        why = "currently running code looks for the table in its old place",
        instead = "leave a view behind, or put both schemas on the search_path first",
    },
    {
        id = "ban-drop-not-null", also = "drop-not-null", on = "drop_not_null", severity = "note",
        unless_new_column = true,
        why = "currently running code may not expect NULL",
        instead = "first deploy code that reads NULL",
    },
    {
        id = "drop-default", on = "drop_default", severity = "note", unless_new_column = true,
        why = "currently running code may insert rows without this column",
        instead = "first deploy code that gives the value",
    },
    {
        id = "truncate", on = "truncate", severity = "danger", effect = "destructive",
        why = "all rows are lost",
        instead = "delete rows known to be unused in batches, outside migrations",
    },
    {
        id = "update-without-where", on = "update", severity = "danger", effect = "rewriting",
        sqlite = true, when = whole_table,
        why = "each row is rewritten and stays locked until the transaction ends",
        instead = "update in batches, each in its own transaction",
    },
    {
        id = "update-rows", on = "update", severity = "note", effect = "rewriting", sqlite = true,
        when = function(fact, state)
            return fact.limited and not state:sets_new_columns(fact)
        end,
        why = "a downgrade does not bring the old values back",
        instead = "a new column for the new values, until the deploy has proved itself",
    },
    {
        id = "delete-without-where", on = "delete", severity = "danger", effect = "destructive",
        sqlite = true, when = whole_table,
        why = "all rows are lost, and stay locked until the transaction ends",
        instead = "delete rows known to be unused in batches",
    },
    {
        id = "delete-rows", on = "delete", severity = "note", effect = "destructive",
        sqlite = true, when = of_kind "limited",
        why = "a downgrade does not bring the rows back",
        instead = "keep a copy of the rows until the deploy has proved itself",
    },
    {
        id = "update-under-exclusive-lock", also = "update-after-alter", on = "update|delete",
        severity = "danger", effect = "rewriting",
        when = function(fact, state)
            return state:holds_exclusive(fact)
        end,
        why = "an earlier statement of the transaction holds ACCESS EXCLUSIVE on the table: no "
            .. "one can read it until the last row is written and the transaction ends",
        instead = "change the rows in a separate revision, with transaction_per_migration, or in "
            .. "batches within op.get_context().autocommit_block()",
    },
    {
        id = "create-table-locks-referenced", on = "reference", severity = "note",
        when = function(fact)
            return fact.of_create
        end,
        why = "the foreign key takes SHARE ROW EXCLUSIVE on the other table, which cannot be "
            .. "written until the transaction ends",
        instead = "keep the transaction short: no long statement after it in the same revision",
    },
    {
        id = "vacuum-full", also = "cluster", on = "vacuum_full", severity = "danger",
        effect = "rewriting",
        why = "the table is rewritten while it is locked even for reading",
        instead = "plain VACUUM; pg_repack when the space is needed",
    },
    {
        id = "refresh-not-concurrent", on = "refresh", severity = "warning", effect = "rewriting",
        when = not_concurrent,
        why = "the view cannot be read while it is computed",
        instead = "REFRESH MATERIALIZED VIEW CONCURRENTLY",
    },
    {
        id = "set-logged", on = "set_logged", severity = "danger", effect = "rewriting",
        why = "the table is rewritten while it is locked",
        instead = "do it while nothing uses the table",
    },
    {
        id = "move-table", on = "move_table", severity = "danger", effect = "rewriting",
        why = "the files of the table are rewritten while it is locked",
        instead = "do it while nothing uses the table, or use pg_repack",
    },
    {
        id = "lock-table", on = "lock_table", severity = "danger", when = locks.stops_writing,
        why = "other sessions wait until the transaction ends",
        instead = "leave locking to the statements that need it",
    },
    {
        id = "create-trigger", on = "create_trigger", severity = "warning",
        why = "the table cannot be written until the transaction ends, and each later write of it "
            .. "runs the trigger",
        instead = "in a separate revision, with a lock_timeout",
    },
    {
        id = "require-concurrent-partition-detach", also = "detach-partition",
        on = "detach_partition", severity = "warning", effect = "destructive",
        when = not_concurrent,
        why = "the table is locked even for reading, and it loses the rows of the partition",
        instead = "DETACH PARTITION … CONCURRENTLY, outside of a transaction",
    },
    {
        id = "ban-char-field", also = "prefer-text-to-char", on = "column", severity = "note",
        any = true,
        when = function(fact)
            return fact.type == "char" or fact.type:match("^char%(") ~= nil
        end,
        why = "char(n) is padded with blanks and is not faster (docs, 8.3 \"Character Types\")",
        instead = "text, with a CHECK when the length matters",
    },
    {
        id = "require-timeout-settings", also = "lock-timeout-missing", on = "lock",
        severity = "warning",
        when = function(_, state)
            local is_first = not state.lock_timeout and not state.said_timeout
            state.said_timeout = state.said_timeout or is_first
            return is_first
        end,
        why = "the statement waits for each query that runs on the table, and all later ones wait "
            .. "behind it",
        instead = "the option lock_timeout of the upgrade, or SET lock_timeout = '5s' before it",
    },
    {
        id = "many-alterations-in-one-transaction", on = "lock", severity = "warning",
        when = function(_, state)
            local held = state.transaction
            local is_first = held and not held.said
                and (held.count >= MANY_TABLES or held.alterations >= MANY_ALTERATIONS)
            if is_first then
                held.said = true
            end
            return is_first
        end,
        why = ("the transaction holds locks of %d tables, or of %d alterations, until its end")
            :format(MANY_TABLES, MANY_ALTERATIONS),
        instead = "transaction_per_migration=True in env.py, and one table to a revision",
    },
    {
        id = "not-understood", on = "not_understood", severity = "warning", effect = "rewriting",
        when = function(fact)
            return not fact.loses
        end,
        why = "the parser does not accept the statement, so its effect is unknown",
        instead = "fix its syntax, or accept it when a newer server knows it",
    },
    {
        id = "not-understood-that-drops", on = "not_understood", severity = "warning",
        effect = "destructive", when = of_kind "loses",
        why = "the parser does not accept the statement; by its words it may drop, rename, "
            .. "truncate or delete",
        instead = "fix its syntax, or accept it when a newer server knows it",
    },
    {
        id = "opaque-code", on = "opaque", severity = "warning", effect = "rewriting",
        when = function(fact)
            return not fact.loses
        end,
        why = "the SQL does not show what the code does",
        instead = "write the statements into the revision, as plain SQL",
    },
    {
        id = "opaque-code-that-drops", on = "opaque", severity = "warning",
        effect = "destructive", when = of_kind "loses",
        why = "the code may drop, rename, truncate or delete; the SQL shows no more",
        instead = "write the statements into the revision, as plain SQL",
    },
    {
        id = "unread", on = "unread", severity = "warning", sqlite = true,
        when = function(fact)
            return not fact.loses
        end,
        why = "the file does not show what it does to the database",
        instead = "write the statements into the revision, with literal arguments",
    },
    {
        id = "unread-that-drops", on = "unread", severity = "warning", effect = "destructive",
        sqlite = true, when = of_kind "loses",
        why = "the file does not show what it does to the database; by its words it may "
            .. "drop, rename, truncate or delete",
        instead = "write the statements into the revision, with literal arguments",
    },
}
