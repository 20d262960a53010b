-- Which build of dgrun this is. A local Fly of another one is replaced.
local fs = require "host.fs"
local proc = require "host.proc"
local version = require "dgrun.core.version"

local M = {}

---@return number # when the newest file below a folder was changed
local function newest(dir)
    local latest = 0
    for _, name in ipairs(fs.list(dir, "unsorted") or {}) do
        local stat = fs.stat(dir / name)
        if stat and stat.type == "directory" then
            latest = math.max(latest, newest(dir / name))
        elseif stat then
            latest = math.max(latest, stat.mtime)
        end
    end
    return latest
end

---The path of this binary. One that was replaced meanwhile has none, but can still be run.
---@return string
function M.program()
    return fs.real "/proc/self/exe" or "/proc/self/exe"
end

---@return string
function M.id()
    local id = ("%s %s"):format(version, proc.build())
    local folder = os.getenv "DGRUN_STDLIB"
    if folder and folder ~= "" then
        id = ("%s %s %.3f"):format(id, folder, newest(folder))
    end
    return id
end

return M
