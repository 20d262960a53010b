-- A project in a temporary folder, for tests of what reads one.
local background = require "support.background"
local fs = require "host.fs"
local task = require "dgrun.core.task"

local M = {}

---@param files table<string, string> by path
---@return string # its folder, removed at the end of the test
function M.make(files)
    local folder = assert(fs.temp_dir("dgrun-test"))
    task.defer(function() background.remove(folder) end)
    for path, text in pairs(files) do
        assert(fs.mkdir((folder / path):match("^(.*)/"), { parents = true }))
        assert(fs.write(folder / path, text))
    end
    return folder
end

return M
