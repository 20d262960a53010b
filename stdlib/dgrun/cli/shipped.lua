-- The operations that come with dgrun, such as `dgrun logs`. A script of the project with the same
-- name takes precedence.
local embedded = require "scripts"
local fs = require "host.fs"
local tables = require "dgrun.core.table"

local M = {}

---Their texts by name. With DGRUN_STDLIB, files in the scripts/ folder next to it take precedence.
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
    return tables.keys(texts())
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
