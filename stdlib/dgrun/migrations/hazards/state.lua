-- What the statements so far have made and hold: new tables are no hazard, and a transaction keeps
-- its locks.
local locks = require "dgrun.migrations.hazards.locks"
local types_of = require "dgrun.migrations.hazards.types"

local M = {}

---@class dgrun.hazards.state
---@field new table<string, true> "table:users", "index:ix" made by this SQL
---@field columns table<string, {not_null: boolean?, default: boolean?}> those made by this SQL
---@field types table<string, string> "users.name" → "varchar(30)"
---@field schema? string where unqualified names live
---@field transaction? table {tables, exclusive, count, alterations, not_valid}
---@field lock_timeout boolean
local State = {}
State.__index = State

local ALEMBIC_COPY = "_alembic_tmp_"

---@param opts {lock_timeout?: boolean, columns?: table<string, string>}
---@return dgrun.hazards.state
function M.new(opts)
    local types = {}
    for column, kind in pairs(opts.columns or {}) do
        types[column] = types_of.canonical(kind)
    end
    return setmetatable({
        new = {}, columns = {}, types = types, not_null = {}, valid_not_null = {},
        lock_timeout = opts.lock_timeout or false, given_timeout = opts.lock_timeout or false,
    }, State)
end

---Types that are known before a statement; what its predecessors have set is known better.
---@param types table<string, string>
function State:know_types(types)
    for column, kind in pairs(types) do
        self.types[column] = self.types[column] or types_of.canonical(kind)
    end
end

local function bare(name)
    return name:match("([^.]+)$") or name
end

---The name beside another one, in the same schema.
local function beside(name, other)
    local schema = name:match("^(.+)%.[^.]+$")
    return schema and schema .. "." .. other or other
end

---What a batch of Alembic's makes a table anew under.
local function copy_of(name)
    return beside(name, ALEMBIC_COPY .. bare(name))
end

---A key of each thing the fact is about; one that is new makes the fact harmless.
local function keys_of(fact)
    return {
        fact.table and "table:" .. fact.table or false,
        fact.index and "index:" .. fact.index or false,
        fact.what and "object:" .. fact.what .. ":" .. (fact.object or "") or false,
    }
end

---@return boolean # made by this SQL, and so used by nobody
function State:is_new(fact)
    for _, key in ipairs(keys_of(fact)) do
        if key and self.new[key] then
            return true
        end
    end
    return false
end

---A new column of an old table: it has the rows of the table, but nothing uses it.
function State:is_new_column(fact)
    return fact.column ~= nil and self.new["column:" .. fact.table .. "." .. fact.column] or false
end

---Are all columns that it sets new ones? Nothing that was there is lost then.
function State:sets_new_columns(fact)
    for _, column in ipairs(fact.columns or { false }) do
        if not column or not self.new["column:" .. fact.table .. "." .. column] then
            return false
        end
    end
    return true
end

---Is the table itself new? A new column of an old table still has its rows.
function State:is_new_table(fact)
    return fact.table ~= nil and self.new["table:" .. fact.table] or false
end

local function key_of_column(fact)
    return fact.table .. "." .. fact.column
end

---Does it take a lock that stops at least the writing of a table that is in use?
---@return boolean
function State:locks(fact)
    return locks.stops_writing(fact) and fact.kind ~= "refresh" and not self:is_new_table(fact)
        and not (fact.index and self:is_new(fact))
end

---Does the transaction so far stop even the reading of the table?
---@return boolean
function State:holds_exclusive(fact)
    return self.transaction ~= nil and self.transaction.exclusive[fact.table] ~= nil
end

---Does a new column of an old table get to where it must be given and was not so far?
function State:becomes_required(fact)
    local column = self.columns[key_of_column(fact)]
    if not column then
        return false
    end
    local is_required = column.not_null and not column.default
    local not_null = fact.kind == "set_not_null" or column.not_null
    local default = fact.kind ~= "drop_default" and column.default
    return not is_required and not_null and not default
end

local apply = {}

function apply.create_table(state, fact)
    state.new["table:" .. fact.table] = true
end

function apply.create_object(state, fact)
    state.new["object:" .. fact.what .. ":" .. fact.object] = true
end

apply.create_trigger, apply.create_owned = apply.create_object, apply.create_object

function apply.create_index(state, fact)
    if fact.index then
        state.new["index:" .. fact.index] = true
    end
end

apply.index_name = apply.create_index

function apply.add_column(state, fact)
    state.new["column:" .. key_of_column(fact)] = true
    state.columns[key_of_column(fact)] = { not_null = fact.not_null,
        default = fact.default and not fact.null_default or fact.serial or fact.identity
            or fact.stored }
end

---A column of its own making is told; of others it is not known what they were.
local function sets(field, value)
    return function(state, fact)
        local column = state.columns[key_of_column(fact)]
        if column then
            column[field] = value
        end
    end
end

apply.set_not_null, apply.drop_not_null = sets("not_null", true), sets("not_null", false)
apply.set_default, apply.drop_default = sets("default", true), sets("default", false)

function apply.drop_column(state, fact)
    state.new["column:" .. key_of_column(fact)] = nil
end

function apply.column(state, fact)
    state.types[key_of_column(fact)] = fact.type
end

---A table that went is old again when it is made by other SQL; one that is renamed stays new.
function apply.drop_table(state, fact)
    state.new["table:" .. fact.table] = nil
end

apply.batch_copy = apply.drop_table

function apply.rename_table(state, fact)
    local old = "table:" .. fact.table
    if fact.to then
        local to = beside(fact.table, fact.to)
        -- The copy of a table is as old as what it was copied from.
        state.new["table:" .. to] = state.new[old] and fact.table ~= copy_of(to)
            or state.copied_new and state.copied_new[to] or nil
    end
    state.new[old] = nil
end

function apply.add_constraint(state, fact)
    local name = fact.name and fact.table .. "." .. fact.name
    if not name then
        return
    end
    state.new["object:constraint:" .. name] = true
    if fact.not_null_of then
        state.not_null[name] = fact.table .. "." .. fact.not_null_of
        state.valid_not_null[state.not_null[name]] = not fact.not_valid or nil
    end
    if fact.not_valid and state.transaction then
        state.transaction.not_valid[name] = true
    end
end

function apply.validate(state, fact)
    local column = state.not_null[fact.object]
    if column then
        state.valid_not_null[column] = true
    end
end

function apply.lock_timeout(state, fact)
    local value = fact.value:lower():gsub("%s", "")
    local is_set = value ~= "default" and not value:match("^0%a*$")
    if fact.is_local then
        if state.transaction then
            state.lock_timeout = is_set
        end
    else
        state.lock_timeout = value == "default" and state.given_timeout or is_set
        state.session_timeout = state.lock_timeout
    end
end

function apply.search_path(state, fact)
    state.schema = fact.schema
end

function apply.begin(state)
    state.transaction = state.transaction
        or { tables = {}, exclusive = {}, count = 0, alterations = 0, not_valid = {} }
end

function apply.finish(state)
    state.transaction = nil
    if state.session_timeout ~= nil then
        state.lock_timeout = state.session_timeout
    else
        state.lock_timeout = state.given_timeout
    end
end

---Counts a lock that the transaction holds until its end.
function State:count_lock(fact)
    local held, name = self.transaction, fact.table or "index:" .. (fact.index or "?")
    if held then
        held.alterations = held.alterations + 1
        held.count = held.count + (held.tables[name] and 0 or 1)
        held.tables[name] = true
        if fact.table and locks.stops_reading(fact) then
            held.exclusive[fact.table] = true
        end
    end
end

---DROP TABLE as a part of Alembic's batch mode, which renames its copy afterwards.
---@param renames table<string, true> names that a copy gets in this SQL
function State:see_batch(fact, renames)
    if fact.kind == "drop_table" and renames[fact.table]
        and self.new["table:" .. copy_of(fact.table)] then
        fact.kind = "batch_copy"
        self.copied_new = self.copied_new or {}
        self.copied_new[fact.table] = self.new["table:" .. fact.table]
    end
end

function State:apply(fact)
    local f = apply[fact.kind]
    if f then
        f(self, fact)
    end
end

---@param fact table a rename_table
---@return string? # the table that a copy of Alembic's becomes
function M.batch_goal(fact)
    local to = fact.to and beside(fact.table, fact.to)
    return to and fact.table == copy_of(to) and to or nil
end

return M
