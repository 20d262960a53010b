-- Changes of a column's type for which PostgreSQL leaves the table as it is (docs, ALTER TABLE,
-- Notes: binary coercible, or an unconstrained domain; pg_proc.prosupport of varchar, numeric …).
local parser = require "dgrun.migrations.hazards.parser"
local tree = require "dgrun.migrations.hazards.tree"

local M = {}

---A type in the spelling of `tree.type`: integer is int4, character varying(3) is varchar(3).
---@param text string as a database or a person writes it
---@return string
function M.canonical(text)
    local found = parser.parse(("SELECT NULL::%s"):format(text))
    local target = found and found.SelectStmt and found.SelectStmt.targetList[1].ResTarget
    local cast = target and target.val.TypeCast
    return cast and tree.type(cast.typeName) or text:lower()
end

local function parsed(text)
    local name, sizes = text:match("^([^(]*)%(([%d,]*)%)$")
    if not name then
        return text
    end
    local precision, scale = sizes:match("^(%d+),?(%d*)$")
    return name, tonumber(precision), tonumber(scale) or 0
end

local function is_larger(size, new_size)
    return not new_size or size ~= nil and new_size >= size
end

---varchar(n) to a larger one, to varchar, to text; text to varchar.
local function character(old, size, new, new_size)
    if new == "text" then
        return old == "varchar" or old == "text"
    end
    return new == "varchar" and (old == "varchar" and is_larger(size, new_size)
        or old == "text" and not new_size)
end

---@param old? string the type so far, when it is known
---@param change {type: string, using: boolean?, collated: boolean?}
---@return boolean
function M.is_cheap(old, change)
    if not old or change.using or change.collated then
        return false
    end
    local name, size, scale = parsed(old)
    local new, new_size, new_scale = parsed(change.type)
    if name == new and (name == "varbit" or name == "numeric") then
        return is_larger(size, new_size) and (not new_size or scale == new_scale)
    end
    return name == new and size == new_size and scale == new_scale
        or character(name, size, new, new_size)
        or name == "cidr" and new == "inet"
end

return M
