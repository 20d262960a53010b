-- The project's folder for what dgrun keeps: history, the state of the sandbox.
local check = require "dgrun.core.check"
local fs = require "host.fs"

local M = {}

M.name = ".dgrun"

---Makes it when it is not there: private, and not for git.
---@param root string the project
---@return string
function M.make(root)
    local folder = root / M.name
    if not fs.exists(folder) then
        check(fs.mkdir(folder, { parents = true }))
    end
    if not fs.exists(folder / ".gitignore") then
        check(fs.write(folder / ".gitignore", "*\n"))
    end
    return folder
end

return M
