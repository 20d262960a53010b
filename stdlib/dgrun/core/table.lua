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

return M
