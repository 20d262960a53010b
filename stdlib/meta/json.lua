---@meta host.json

---Writes JSON. Keys are sorted by their bytes; a table is an array when it has a first item or the
---metatable of arrays; a sealed value is refused, except in a request body.
---@class host.json
---@field array_metatable table of a table that is an array, also when it is empty
---@field number_metatable table of a number whose digits are in the field `text`
local M = {}

---@param value any
---@return string?
---@return dgrun.err? json.invalid, json.sealed
function M.encode(value) end

---As encode, with each string masked before it is encoded.
---@param value any
---@return string?
---@return dgrun.err? json.invalid, json.sealed
function M.masked(value) end

---As encode, for the body of a request: sealed when it contains a sealed value.
---@param value any
---@return (string|host.secret.value)?
---@return dgrun.err? json.invalid
function M.body(value) end

return M
