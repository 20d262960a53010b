-- Who runs this, where; and whether another one still does.
local fs = require "host.fs"
local proc = require "host.proc"

local M = {}

---@class dgrun.process
---@field who? string the person or the CI that started it
---@field host string name of the computer
---@field machine string names the system that `pid` is valid on
---@field pid integer
---@field process string tells apart two processes that had the same pid: when it was started

---The variable that children of a run inherit: the run's id.
M.VARIABLE = "DGRUN_RUN"

local function first_line(path)
    return (fs.read(path, { limit = 4096 }) or ""):match("^[^\n]*")
end

---State and start time: proc(5), fields 3 and 22 of stat. The name in field 2 may hold anything.
local function stat_of(pid)
    local text = fs.read(("/proc/%s/stat"):format(pid), { limit = 4096 })
    local rest = text and text:match("^.*%) (.*)$")
    if not rest then
        return nil
    end
    local fields = {}
    for field in rest:gmatch("%S+") do
        fields[#fields + 1] = field
    end
    return fields[1], fields[20]
end

local function who()
    for _, name in ipairs { "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "SUDO_USER" } do
        local value = os.getenv(name)
        if value and value ~= "" then
            return value
        end
    end
    return proc.self().user
end

local own

---@return dgrun.process
function M.own()
    if not own then
        local self = proc.self()
        local _, started = stat_of "self"
        local host = first_line "/proc/sys/kernel/hostname"
        own = {
            who = who(), host = host, pid = self.pid, process = started or "",
            machine = ("%s %s %.0f"):format(host, first_line "/proc/sys/kernel/random/boot_id",
                self.namespace),
        }
    end
    return own
end

---Has this process ended? nil where that cannot be seen from here.
---@param process {machine?: string, pid?: integer, process?: string}
---@return boolean?
function M.ended(process)
    if not process.machine or process.machine ~= M.own().machine then
        return nil
    end
    local state, started = stat_of(process.pid)
    return state == nil or state == "Z" or state == "X" or started ~= process.process
end

---The processes that a run started and that outlived it, of this user and on this system.
---@param id string of the run
---@return {pid: integer, command: string}[]
function M.children(id)
    local found = {}
    local mark = "\0" .. M.VARIABLE .. "=" .. id .. "\0"
    for _, name in ipairs(fs.list "/proc" or {}) do
        local pid = name:match("^%d+$") and tonumber(name)
        local environ = pid and pid ~= M.own().pid
            and fs.read(("/proc/%d/environ"):format(pid), { limit = 1024 * 1024 })
        if environ and ("\0" .. environ .. "\0"):find(mark, 1, true) and stat_of(pid) ~= "Z" then
            local command = fs.read(("/proc/%d/cmdline"):format(pid), { limit = 65536 }) or ""
            found[#found + 1] = { pid = pid, command = (command:gsub("%z", " "):gsub("%s+$", "")) }
        end
    end
    return found
end

return M
