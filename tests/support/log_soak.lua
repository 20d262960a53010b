-- Follows the logs of machines that write fast while answers are lost, cut off and refused, and
-- counts what is wrong with what it gets: `dgrun logs --follow --json` in a process of its own,
-- against a local Fly in another.
local fs = require "host.fs"
local json = require "dgrun.core.json"
local local_fly = require "support.local_fly"
local task = require "dgrun.core.task"
local time = require "host.time"
local until_true = require("support.wait").until_true

local M = {}

local image = "registry.fly.io/web:chatter"
local PATH = "/logs$"

---@class support.log_soak
---@field per_second integer lines of all machines together
---@field lines integer in all
---@field machines integer
---@field faults table[] as of POST /sandbox/v1/faults, for the log calls
---@field on_progress? fun(lines: integer, memory_kb: integer)

---@class support.log_soak.result
---@field lines integer that came
---@field lost integer
---@field repeated integer
---@field disordered integer
---@field seconds number from the first line to the last
---@field memory_kb integer[] resident, at each tenth of the lines
---@field cpu number seconds of the processor that the client took
---@field said string[] on standard error
---@field status integer exit status after SIGINT
---@field requests integer calls of the log

local function memory_kb(pid)
    local status = assert(fs.read(("/proc/%d/status"):format(pid)))
    return tonumber(status:match "VmRSS:%s*(%d+)")
end

local TICKS = 100

local function cpu_seconds(pid)
    local stat = assert(fs.read(("/proc/%d/stat"):format(pid)))
    local user, system = stat:match("^.*%)" .. (" %S+"):rep(11) .. " (%d+) (%d+)")
    return (tonumber(user) + tonumber(system)) / TICKS
end

---Notes a line of a machine whose lines are numbered from 1.
local function note(result, expected, entry)
    local number = tonumber(entry.message:match "^line (%d+)$")
    if not number then
        return false
    end
    local wanted = expected[entry.instance] or 1
    if number == wanted then
        expected[entry.instance] = number + 1
    elseif number > wanted then
        result.lost = result.lost + number - wanted
        result.disordered = result.disordered + 1
        expected[entry.instance] = number + 1
    else
        result.repeated = result.repeated + 1
    end
    result.lines = result.lines + 1
    return true
end

local function log_calls(fly)
    local _, answer = fly:call("GET", "/sandbox/v1/requests")
    local count = 0
    for _, request in ipairs(answer.requests) do
        count = count + (request.path:find(PATH) and 1 or 0)
    end
    return count
end

---Reads what the client writes until all lines are there.
local function read(child, opts, result)
    local expected, started = {}, nil
    local step = math.max(1, math.floor(opts.lines / 10))
    -- What is lost never comes.
    while result.lines + result.lost < opts.lines do
        local item = assert(child:read(), "it ended early")
        if item.stream == "stdout" and note(result, expected, json.decode(item.line)) then
            started = started or time.now()
            if result.lines % step == 0 then
                local kb = memory_kb(child:pid())
                result.memory_kb[#result.memory_kb + 1] = kb
                if opts.on_progress then
                    opts.on_progress(result.lines, kb)
                end
            end
        elseif item.stream == "stderr" then
            result.said[#result.said + 1] = item.line
        end
    end
    result.seconds, result.cpu = time.now() - started, cpu_seconds(child:pid())
end

---@param opts support.log_soak
---@return support.log_soak.result
function M.run(opts)
    local fly = local_fly.start()
    fly:register(image, { chatter = { per_second = opts.per_second / opts.machines,
        lines = opts.lines / opts.machines } })
    -- The sanitizer keeps what was freed for a while, which would look like growth.
    fly.env.ASAN_OPTIONS = (fly.env.ASAN_OPTIONS or "") .. ":quarantine_size_mb=1"
        .. ":thread_local_quarantine_size_kb=64"
    local child = fly:spawn { "logs", "prod", "--follow", "--json" }
    task.defer(function() child:stop() end)
    until_true(function() return log_calls(fly) > 0 end)
    for _, fault in ipairs(opts.faults) do
        fault.path = PATH
        fly:fault(fault)
    end
    for _ = 1, opts.machines do
        fly:web("web", image)
    end
    local result = { lines = 0, lost = 0, repeated = 0, disordered = 0, memory_kb = {}, said = {} }
    read(child, opts, result)
    child:kill "SIGINT"
    while true do
        local item = child:read()
        if not item then
            break
        elseif item.stream == "stdout" and note(result, {}, json.decode(item.line)) then
            result.repeated = result.repeated + 1
        end
    end
    local exit = child:wait()
    result.status = exit.signal and 128 + exit.signal or exit.status
    result.requests = log_calls(fly)
    return result
end

return M
