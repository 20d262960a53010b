-- The lock that each fact takes on its table, in PostgreSQL's words (docs, ALTER TABLE, and 13.3.1
-- "Table-Level Locks").
local M = {}

M.modes = {
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE",
    "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
}

---Those from here on stop at least the writing of the table.
local SHARE = 5

local ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE, ACCESS_EXCLUSIVE =
    3, 4, 6, 7, 8

local function either(concurrently, otherwise)
    return function(fact)
        return fact.concurrently and concurrently or otherwise
    end
end

---A foreign key is added under SHARE ROW EXCLUSIVE; by USING INDEX or NOT VALID nothing changes.
local function of_constraint(fact)
    return fact.type == "foreign key" and SHARE_ROW_EXCLUSIVE or ACCESS_EXCLUSIVE
end

---@type table<string, integer|fun(fact: table): integer>
local mode_of = {
    create_index = either(SHARE_UPDATE_EXCLUSIVE, SHARE),
    drop_index = either(SHARE_UPDATE_EXCLUSIVE, ACCESS_EXCLUSIVE),
    reindex = either(SHARE_UPDATE_EXCLUSIVE, SHARE),
    detach_partition = either(SHARE_UPDATE_EXCLUSIVE, ACCESS_EXCLUSIVE),
    refresh = either(EXCLUSIVE, ACCESS_EXCLUSIVE),
    lock_table = function(fact) return fact.mode end,
    add_constraint = of_constraint,
    reference = SHARE_ROW_EXCLUSIVE, create_trigger = SHARE_ROW_EXCLUSIVE,
    switch_trigger = SHARE_ROW_EXCLUSIVE,
    validate = SHARE_UPDATE_EXCLUSIVE, weak_alteration = SHARE_UPDATE_EXCLUSIVE,
    inherit = SHARE_UPDATE_EXCLUSIVE,
    update = ROW_EXCLUSIVE, delete = ROW_EXCLUSIVE,
}
for kind in ("add_column drop_column set_not_null drop_not_null set_default drop_default "
    .. "alter_type drop_constraint rename_column rename_table set_schema set_logged move_table "
    .. "alteration attach_partition detached add_partition create_owned drop_owned drop_table "
    .. "truncate vacuum_full")
    :gmatch("%S+") do
    mode_of[kind] = ACCESS_EXCLUSIVE
end

---The number of the mode in `modes`; nil for what locks no table.
---@param fact table
---@return integer?
function M.of(fact)
    local mode = mode_of[fact.kind]
    if fact.kind == "rename_object" and fact.table then
        return ACCESS_EXCLUSIVE
    end
    return type(mode) == "function" and mode(fact) or mode
end

---Does it stop at least the writing of its table?
---@param fact table
---@return boolean
function M.stops_writing(fact)
    return (M.of(fact) or 0) >= SHARE
end

---Does it stop even the reading of its table?
---@param fact table
---@return boolean
function M.stops_reading(fact)
    return M.of(fact) == ACCESS_EXCLUSIVE
end

return M
