-- dgrun in a project, interrupted by a signal when it prints a certain line.
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local M = {}

---Starts dgrun and sends the signal when a line with `text` is printed: its exit, all lines.
---@param project support.project
---@param argv string[]
---@param text string
---@param signal string "SIGKILL"
---@return table exit
---@return string output
function M.run(project, argv, text, signal)
    -- A process that is killed cannot remove its temporary folder.
    fs.mkdir(project.dir / ".dgrun")
    fs.mkdir(project.dir / ".dgrun/tmp")
    local env = { TMPDIR = project.dir / ".dgrun/tmp" }
    for name, value in pairs(project.env or {}) do
        env[name] = value
    end
    local child = assert(proc.spawn {
        argv = { os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe", unpack(argv) },
        cwd = project.dir, env = env,
    })
    local lines, sent = {}, false
    for line in function() return child:read() end do
        lines[#lines + 1] = line.line
        if not sent and line.line:find(text, 1, true) then
            sent = true
            child:kill(signal)
        end
    end
    assert(sent, "no line with " .. text .. " in:\n" .. table.concat(lines, "\n"))
    return child:wait(), table.concat(lines, "\n")
end

---Waits for the end of all processes that work below the project's folder, but for those of the
---local Fly: dgrun and what it started itself.
---@param project support.project
function M.wait_for_no_process(project)
    local fly = project.dir / ".dgrun/sandbox"
    local function count()
        local n = 0
        for _, pid in ipairs(fs.list "/proc") do
            local cwd = pid:match("^%d+$") and fs.real("/proc/" .. pid .. "/cwd")
            n = n + (cwd and cwd:sub(1, #project.dir) == project.dir
                and cwd:sub(1, #fly) ~= fly and 1 or 0)
        end
        return n
    end
    task.timeout(30, function()
        while count() > 0 do
            task.sleep(0.05)
        end
    end)
end

return M
