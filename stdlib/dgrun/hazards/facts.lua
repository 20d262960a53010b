-- What a statement does, as facts that the rules look at: {kind, table, object, …}.
local alter = require "dgrun.hazards.alter"
local columns = require "dgrun.hazards.columns"
local cursor = require "dgrun.hazards.cursor"

local M = {}

local readers = {}

---Adds one fact for each name of a list.
local function each_name(c, schema, f)
    for _, part in ipairs(c:parts()) do
        part:take("only")
        f(part:name(schema) or "?", part)
    end
end

local function table_item(add, name, c, schema)
    local constraint = columns.constraint(c, schema)
    local column = not constraint and c:word() ~= "like" and columns.column(c, schema)
    if column then
        add("column", { table = name, column = column.name, type = column.type,
            object = name .. "." .. column.name })
    end
    for _, one in ipairs(column and column.constraints or { constraint }) do
        if one.references then
            add("reference", { table = one.references })
        end
    end
end

local function create_table(add, c, schema)
    c:take("if", "not", "exists")
    local name = c:name(schema) or "?"
    add("create_table", { table = name })
    if c:take("partition", "of") then
        add("reference", { table = c:name(schema) })
    end
    local items = c:parens()
    for _, item in ipairs(items and items:parts() or {}) do
        table_item(add, name, item, schema)
    end
end

local function create_index(add, c, schema)
    local concurrently = c:take("concurrently")
    c:take("if", "not", "exists")
    local name = c:word() ~= "on" and c:name(schema) or nil
    if not c:find("on") then
        return
    end
    -- ON ONLY: the index of a partitioned table alone, which holds no rows.
    local is_empty = c:take("only")
    add("create_index", { object = name, table = c:name(schema), concurrently = concurrently,
        is_empty = is_empty, index = name })
end

local function create_trigger(add, c, schema)
    local name = c:plain_name() or "?"
    if c:find("on") then
        local on = c:name(schema) or "?"
        add("create_trigger", { table = on, what = "trigger", object = on .. "." .. name })
    end
end

local function skip_words(c, words)
    for word in words:gmatch("%S+") do
        c:take(word)
    end
end

function readers.create(add, c, schema)
    c:take("or", "replace")
    skip_words(c, "global local temp temporary unlogged unique constraint")
    if c:take("table") or c:take("foreign", "table") then
        return create_table(add, c, schema)
    elseif c:take("index") then
        return create_index(add, c, schema)
    elseif c:take("trigger") then
        return create_trigger(add, c, schema)
    end
    local what = c:word() or "?"
    c:skip()
    while c:word() == "view" or c:word() == "wrapper" or c:word() == "trigger" do
        what = what .. " " .. c:word()
        c:skip()
    end
    c:take("if", "not", "exists")
    add("create_object", { what = what, object = c:name(schema) or "?" })
end

local function drop_index(add, c, schema)
    local concurrently = c:take("concurrently")
    c:take("if", "exists")
    each_name(c, schema, function(name)
        add("drop_index", { object = name, index = name, concurrently = concurrently })
    end)
end

---What goes by these names has rules of its own; all else is an object.
local drop_kinds = {
    schema = "drop_schema", database = "drop_database", type = "drop_type", domain = "drop_type",
}

---A trigger, a policy or a rule belongs to a table: DROP TRIGGER name ON table.
local function owned_name(name, c, schema)
    local owner = c:take("on") and c:name(schema)
    return owner and owner .. "." .. name or name
end

function readers.drop(add, c, schema)
    if c:take("index") then
        return drop_index(add, c, schema)
    end
    local is_table = c:take("table") or c:take("foreign", "table")
    local what = is_table and "table" or c:word() or "?"
    if not is_table then
        c:skip()
        while c:word() == "view" or c:word() == "trigger" or c:word() == "wrapper" do
            what = what .. " " .. c:word()
            c:skip()
        end
    end
    c:take("if", "exists")
    each_name(c, schema, function(name, part)
        if is_table then
            return add("drop_table", { table = name })
        end
        add(drop_kinds[what] or "drop_object", {
            what = what, object = owned_name(name, part, schema) })
    end)
end

function readers.alter(add, c, schema)
    alter.read(add, c, schema)
end

function readers.truncate(add, c, schema)
    c:take("table")
    each_name(c, schema, function(name)
        add("truncate", { table = name })
    end)
end

---WHERE true and WHERE 1 = 1 leave nothing out.
local function is_limited(c)
    if not c:find("where") then
        return false
    end
    local rest = c:text()
    return rest ~= "true" and rest ~= "1=1"
end

---Alembic's own table, also by another name (version_table of env.py): it is written one row at a
---time, in this form.
local function is_version_table(name, c)
    local condition = c:text():match("where [%w_.]-([%w_]+)%.version_num=")
    return name:match("alembic_version$") or condition and name:match("[%w_]+$") == condition
end

---The columns that an UPDATE sets; nil when that cannot be told.
local function columns_set(c)
    local rest, names = cursor.new(c.tokens, c.at, c.last), {}
    if not rest:find("set") then
        return nil
    end
    for _, part in ipairs(rest:parts()) do
        local column = part:plain_name()
        if not column or not part:is_symbol("=") then
            return nil
        end
        names[#names + 1] = column
        if part:has("where") or part:has("from") then
            break
        end
    end
    return names
end

local function change_rows(kind, add, c, schema)
    c:take("only")
    local name = c:name(schema) or "?"
    if not is_version_table(name, c) then
        add(kind, { table = name, columns = kind == "update" and columns_set(c) or nil,
            limited = is_limited(c) })
    end
end

function readers.update(add, c, schema)
    change_rows("update", add, c, schema)
end

function readers.delete(add, c, schema)
    c:take("from")
    change_rows("delete", add, c, schema)
end

---WITH may change rows in its parts and behind them (docs, 7.8.4).
readers["with"] = function(add, c, schema)
    while not c:done() do
        local inside = c:parens()
        local word = (inside or c):word()
        if word == "update" or word == "delete" or word == "with" and inside then
            local part = inside or c
            part:skip()
            readers[word](add, part, schema)
        elseif not inside then
            c:skip()
        end
    end
end

---SELECT … INTO makes a table; set_config is SET.
function readers.select(add, c, schema)
    local rest = cursor.new(c.tokens, c.at)
    if c:take("set_config") or c:take("pg_catalog") and c:symbol(".") and c:take("set_config") then
        local arguments = c:parens()
        local parts = arguments and arguments:parts() or {}
        if parts[1] and parts[1]:text():match("^%s*lock_timeout$") and parts[2] then
            add("lock_timeout", { value = parts[2]:text(), is_local = parts[3]
                and parts[3]:word() == "true" })
        end
    elseif rest:find("into") then
        skip_words(rest, "temporary temp unlogged table")
        add("create_table", { table = rest:name(schema) or "?" })
    end
end

function readers.set(add, c)
    local is_local = c:take("local")
    c:take("session")
    local setting = c:plain_name()
    if not (c:take("to") or c:symbol("=")) then
        return
    elseif setting == "lock_timeout" then
        add("lock_timeout", { value = c:text(), is_local = is_local })
    elseif setting == "search_path" then
        local token = c:peek()
        add("search_path", { schema = token and token.kind ~= "symbol" and token.text or nil })
    end
end

function readers.reset(add, c)
    if c:take("lock_timeout") or c:take("all") then
        add("lock_timeout", { value = "default" })
    end
end

readers["begin"] = function(add)
    add("begin", {})
end

function readers.start(add)
    add("begin", {})
end

local function finish(add)
    add("finish", {})
end

readers.commit, readers.abort, readers["end"] = finish, finish, finish

function readers.rollback(add, c)
    c:take("work")
    c:take("transaction")
    if not c:take("to") then
        finish(add)
    end
end

---Does this list of options switch one on: (FULL), (FULL true), not (FULL off)?
local function option(c, name)
    for _, part in ipairs(c and c:parts() or {}) do
        if part:take(name) then
            local value = part:peek()
            return not value or not (value.text == "false" or value.text == "off"
                or value.text == "0")
        end
    end
    return false
end

function readers.vacuum(add, c, schema)
    local is_full = option(c:parens(), "full") or c:take("full")
    skip_words(c, "freeze verbose analyze")
    if is_full then
        add("vacuum_full", { table = c:name(schema), what = "VACUUM FULL" })
    end
end

function readers.cluster(add, c, schema)
    c:parens()
    c:take("verbose")
    add("vacuum_full", { table = c:name(schema), what = "CLUSTER" })
end

function readers.reindex(add, c, schema)
    local concurrently = option(c:parens(), "concurrently")
    local what = c:word()
    c:skip()
    concurrently = c:take("concurrently") or concurrently
    local name = c:name(schema)
    add("reindex", { object = name, table = what == "table" and name or nil,
        index = what == "index" and name or nil, concurrently = concurrently })
end

function readers.refresh(add, c, schema)
    if c:take("materialized", "view") then
        add("refresh", { concurrently = c:take("concurrently"), what = "materialized view",
            object = c:name(schema) or "?" })
    end
end

-- Modes that stop neither reading nor writing (docs, 13.3.1 "Table-Level Locks").
local weak_modes = { ["access share"] = true, ["row share"] = true, ["row exclusive"] = true }

function readers.lock(add, c, schema)
    c:take("table")
    local mode = cursor.new(c.tokens, c.at)
    mode = mode:find("in") and mode:text():match("^(.-) mode") or "access exclusive"
    each_name(c, schema, function(name)
        if not weak_modes[mode] then
            add("lock_table", { table = name })
        end
    end)
end

---Code that only the server can read; its words are all that is known.
local function opaque(add, c)
    local body = c:text():lower()
    local loses = false
    for _, word in ipairs { "drop", "truncate", "rename", "delete" } do
        loses = loses or body:find("%f[%w_]" .. word .. "%f[^%w_]") ~= nil
    end
    add("opaque", { loses = loses })
end

-- Statements that neither lose anything nor hold a lock that matters.
local harmless = {}
for word in ("insert comment grant revoke analyze analyse copy values show table notify listen "
    .. "unlisten discard savepoint release deallocate security import checkpoint declare fetch "
    .. "move close reassign load pragma"):gmatch("%S+") do
    harmless[word] = function() end
end

---What is not known is opaque: DO, CALL, EXECUTE, MERGE, EXPLAIN ANALYZE, a language to come.
setmetatable(readers, { __index = function(_, word)
    return harmless[word] or opaque
end })

---SQLite's VACUUM writes the whole file anew.
local sqlite = setmetatable({}, { __index = readers })

function sqlite.vacuum(add)
    add("vacuum_full", { what = "VACUUM" })
end

---@param statement dgrun.hazards.statement
---@param dialect string
---@param schema? string where unqualified names live
---@return table[]
function M.of(statement, dialect, schema)
    local facts, c = {}, cursor.new(statement.tokens)
    local word = c:word()
    if word then
        local read = (dialect == "sqlite" and sqlite or readers)[word]
        c:skip()
        read(function(kind, fields)
            fields.kind = kind
            fields.object = fields.object or fields.table
            facts[#facts + 1] = fields
        end, c, schema)
    end
    return facts
end

return M
