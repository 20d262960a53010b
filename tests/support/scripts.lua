-- Scripts that run in a dgrun of their own.
local fs = require "host.fs"
local host_task = require "host.task"
local proc = require "host.proc"
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true

local M = {}

---@class support.script
---@field pid integer
---@field lines string[] it wrote, those of stderr too
---@field kill fun(signal: string)
---@field said fun(text: string): string waits for a line that holds `text`
---@field ended fun(): host.proc.exit waits until it has ended
---@field text fun(): string all that it wrote

---Starts dgrun with these arguments; it is killed at the end of the test.
---@param place support.store
---@param ... string
---@return support.script
function M.dgrun(place, ...)
    local child = assert(proc.spawn {
        argv = { os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe", ... },
        cwd = place.root, env = place.env,
    })
    local script, exit = { pid = child:pid(), lines = {} }, nil
    local reader = host_task.spawn(function()
        for line in function() return child:read() end do
            script.lines[#script.lines + 1] = line.line
        end
        exit = child:wait()
    end, { name = "script", daemon = true })
    function script.kill(signal) child:kill(signal) end
    function script.text() return table.concat(script.lines, "\n") end
    function script.said(what)
        local ok, line = pcall(until_true, function()
            for _, line in ipairs(script.lines) do
                if line:find(what, 1, true) then
                    return line
                end
            end
            assert(not exit, "it has ended")
        end)
        return ok and line or error(("no line with '%s': %s\n%s"):format(what, tostring(line),
            script.text()), 0)
    end
    function script.ended()
        reader:join()
        return exit
    end
    task.defer(function()
        child:kill "SIGKILL"
        reader:join()
    end)
    return script
end

---Starts a script.
---@param place support.store
---@param text string the script
---@param ... string its arguments
---@return support.script
function M.start(place, text, ...)
    local path = place.root / ("script-%d.lua"):format(#fs.list(place.root))
    assert(fs.write(path, text))
    return M.dgrun(place, path, ...)
end

return M
