-- Folders that take long to make and that many tests begin with: each is made once in a run of
-- tests, and copied.
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local M = {}

-- The folder of the run: its children find it here.
local VARIABLE = "DGRUN_TEST_TEMPLATES"

---Keeps what is made until the scope ends: of the process that was started first.
function M.keep()
    if os.getenv(VARIABLE) then
        return
    end
    local folder = fs.real(assert(fs.temp_dir "dgrun-templates"))
    task.defer(function() fs.remove(folder, { recursive = true }) end)
    proc.export(VARIABLE, folder)
end

---The template of this name. It must not be changed.
---@param name string
---@param make fun(dir: string) makes it in a folder that does not exist; others may do the same
---@return string # its folder
function M.once(name, make)
    local folder = assert(os.getenv(VARIABLE), "templates.keep was not called")
    local template = folder / name
    if not fs.exists(template) then
        local mine = assert(fs.temp_dir(name, folder)) / "made"
        make(mine)
        -- Refused when another process was faster: then there is one.
        assert(proc.run { argv = { "mv", "-nT", mine, template } })
    end
    return template
end

return M
