-- The local Fly that dgrun --sandbox leaves in the background of a project. It must not outlive the
-- test: it would go on writing to a folder that is being removed.
local address = require "sandbox.address"
local background = require "sandbox.background"
local fs = require "host.fs"
local proc = require "host.proc"
local until_true = require("support.wait").until_true

local M = {}

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

---@param dir string the project
function M.stop(dir)
    background.stop(dir / ".dgrun/sandbox")
end

---Stops it and removes the project.
---@param dir string
function M.remove(dir)
    local ok, e = pcall(M.stop, dir)
    fs.remove(dir, { recursive = true })
    if not ok then
        error(e, 0)
    end
end

---Starts it where it does not run, as dgrun --sandbox does.
---@param dir string the project
---@param env table<string, string>
---@return {url: string, token: string}
function M.start(dir, env)
    local folder = dir / ".dgrun/sandbox"
    local found = background.status(folder)
    if not found then
        assert(fs.mkdir(folder))
        local child = assert(proc.detach { argv = { binary, "-C", dir, "sandbox", "--background" },
            cwd = "/", clean_env = true, env = env, output = folder / background.LOG })
        found = until_true(function()
            assert(not child:status(), fs.read(folder / background.LOG))
            local here = address.read(folder)
            return here and here.pid == child:pid() and here
        end)
    end
    return { url = found.url, token = assert(fs.read(folder / "token")) }
end

---@param dir string the project
---@return sandbox.address?
function M.address(dir)
    return address.read(dir / ".dgrun/sandbox")
end

---@param pid integer
function M.lives(pid)
    local stat = fs.read(("/proc/%d/stat"):format(pid))
    return stat ~= nil and not stat:match "%) Z "
end

return M
