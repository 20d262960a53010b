-- What several modules do with tables of data.
local M = {}

---A copy of data, with the metatables: an empty array is one by its metatable only, and a large
---number too.
---@generic T
---@param value T
---@return T
function M.copy(value)
    if type(value) ~= "table" then
        return value
    end
    local result = {}
    for name, item in pairs(value) do
        result[name] = M.copy(item)
    end
    return setmetatable(result, getmetatable(value))
end

---A new table with the entries of several tables; later tables take precedence. Values are not
---copied, and neither are metatables.
---@param ... table? nil counts as empty
---@return table
function M.merged(...)
    local result = {}
    for i = 1, select("#", ...) do
        for name, value in pairs(select(i, ...) or {}) do
            result[name] = value
        end
    end
    return result
end

---Numbers come first.
local function in_order(a, b)
    if type(a) == type(b) then
        return a < b
    end
    return type(a) == "number"
end

---The names in one or several tables, sorted, each once.
---@param ... table? nil counts as empty
---@return string[]
function M.keys(...)
    local names = {}
    for name in pairs(M.merged(...)) do
        names[#names + 1] = name
    end
    table.sort(names, in_order)
    return names
end

---A new list: the items of a list, and more behind them.
---@param list any[]
---@param ... any
---@return any[]
function M.extended(list, ...)
    local result = { unpack(list) }
    for i = 1, select("#", ...) do
        result[#result + 1] = select(i, ...)
    end
    return result
end

return M
