-- The operations that come with dgrun, such as `dgrun logs`. A project that has a script of that
-- name uses its own.
local embedded = require "scripts"
local fs = require "host.fs"

local M = {}

---Their texts by name. With DGRUN_STDLIB those beside that folder, where they are.
---@return table<string, string>
local function texts()
    local all, folder = embedded, os.getenv "DGRUN_STDLIB"
    if folder and folder ~= "" then
        for name in pairs(all) do
            all[name] = fs.read(folder / "../scripts" / (name .. ".lua")) or all[name]
        end
    end
    return all
end

---@return string[] sorted
function M.names()
    local names = {}
    for name in pairs(texts()) do
        names[#names + 1] = name
    end
    table.sort(names)
    return names
end

---@param name string
---@param root? string the project
---@return dgrun.cli.script?
function M.find(name, root)
    local text = texts()[name]
    if not text then
        return nil
    end
    root = root or fs.cwd()
    return { name = name, path = name, folder = root / "scripts", root = root, text = text,
        shipped = true }
end

return M
