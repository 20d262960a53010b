-- Values as Lua source, for people: what print, `dgrun -e` and an error that is a table show.
local M = {}

local DEPTH_LIMIT = 6
local ITEM_LIMIT = 200

local keywords = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat "
    .. "return then true until while"):gmatch "%a+" do
    keywords[word] = true
end

local function quoted(text)
    return (("%q"):format(text):gsub("\\\n", "\\n"):gsub("\r", "\\r"))
end

local function key_text(key)
    if type(key) == "string" and key:match "^[%a_][%w_]*$" and not keywords[key] then
        return key
    end
    return ("[%s]"):format(type(key) == "string" and quoted(key) or tostring(key))
end

local function by_kind_and_name(left, right)
    if type(left) == type(right) and type(left) == "number" then
        return left < right
    elseif type(left) ~= type(right) then
        return type(left) < type(right)
    end
    return tostring(left) < tostring(right)
end

local describe

local function fields(value, seen, depth)
    local parts, length = {}, #value
    for i = 1, math.min(length, ITEM_LIMIT) do
        parts[i] = describe(value[i], seen, depth)
    end
    local keys = {}
    for key in pairs(value) do
        if type(key) ~= "number" or key < 1 or key > length or key % 1 ~= 0 then
            keys[#keys + 1] = key
        end
    end
    table.sort(keys, by_kind_and_name)
    for i = 1, math.min(#keys, ITEM_LIMIT) do
        parts[#parts + 1] = ("%s = %s"):format(key_text(keys[i]),
            describe(value[keys[i]], seen, depth))
    end
    if length > ITEM_LIMIT or #keys > ITEM_LIMIT then
        parts[#parts + 1] = "…"
    end
    return parts
end

function describe(value, seen, depth)
    local meta = getmetatable(value)
    if type(value) == "string" then
        return quoted(value)
    elseif type(value) ~= "table" or type(meta) == "table" and meta.__tostring then
        return tostring(value)
    elseif seen[value] then
        return "{ its own table again }"
    elseif depth >= DEPTH_LIMIT then
        return "{ … }"
    end
    seen[value] = true
    local parts = fields(value, seen, depth + 1)
    seen[value] = nil
    return #parts == 0 and "{}" or ("{ %s }"):format(table.concat(parts, ", "))
end

---A table with its fields on one line; any other value as tostring gives it.
---@param value any
---@return string # "{ 1, 2, name = \"web\" }"
function M.text(value)
    return type(value) == "table" and describe(value, {}, 0) or tostring(value)
end

return M
