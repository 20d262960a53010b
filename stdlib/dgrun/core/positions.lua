-- Lines of values, as the decoders of YAML and TOML report them with `positions`: the line of a
-- scalar; {line, {key → position}} of a table or a list.
local M = {}

---@alias dgrun.position integer|table

---The line of the value at these keys, or of the nearest value around it. Where the file has a
---single table instead of a list of tables, the place in the list is skipped.
---@param position? dgrun.position of the whole file
---@param keys (string|integer)[]
---@param older_names? table<string, string[]> other names that a key may have in the file
---@return integer? line nil where the file has none of these keys
function M.line(position, keys, older_names)
    local line
    for _, key in ipairs(keys) do
        local inside = type(position) == "table" and position[2] or {}
        local found = inside[key]
        for _, name in ipairs(older_names and older_names[key] or {}) do
            found = found or inside[name]
        end
        if found then
            position, line = found, type(found) == "table" and found[1] or found
        elseif type(key) == "string" or inside[1] then
            break
        end
    end
    return line
end

return M
