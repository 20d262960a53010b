-- Servers that refuse to run as root, in the background for the length of a test.
local host_task = require "host.task"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local M = {}

---@param argv string[]
---@return string # what it wrote, without the end of the last line
function M.output(argv)
    local r = assert(proc.run { argv = argv })
    assert(r.status == 0, r.stderr)
    return (r.stdout:gsub("%s+$", ""))
end

---@return boolean
function M.is_superuser()
    return M.output { "id", "-u" } == "0"
end

---Gives the folder to a user without privileges.
---@param dir string
---@return fun(argv: string[]): string[] # the command as that user
function M.unprivileged(dir)
    local prefix = {}
    if M.is_superuser() then
        M.output { "chown", "-R", "nobody", dir }
        prefix = { "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups" }
    end
    return function(argv)
        local all = { unpack(prefix) }
        for _, word in ipairs(argv) do
            all[#all + 1] = word
        end
        return all
    end
end

---@param name string
---@param argv string[]
---@param signal string that ends it at the end of the test
---@return fun(signal?: string) stop it before, and wait until it is gone
function M.start(name, argv, signal)
    local child = assert(proc.spawn { argv = argv, cwd = "/" })
    -- Not a child of the test: those are awaited before its cleanup runs.
    local reader = host_task.spawn(function()
        while child:read() do end
    end, { name = name, daemon = true })
    local stopped = false
    local function stop(other)
        if stopped then
            return
        end
        stopped = true
        child:kill(other or signal)
        reader:join()
        child:wait()
    end
    task.defer(stop)
    return stop
end

return M
