-- The files of tests below a folder.
local fs = require "host.fs"

---@param folder string
---@param pattern? string of the paths
---@return string[]
local function list(folder, pattern, found)
    found = found or {}
    for _, name in ipairs(assert(fs.list(folder))) do
        local path = folder .. "/" .. name
        if fs.stat(path).type == "directory" then
            list(path, pattern, found)
        elseif name:match("_spec%.lua$") and path:find(pattern or "") then
            found[#found + 1] = path
        end
    end
    return found
end

return list
