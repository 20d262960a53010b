-- A machine that runs one command and is destroyed behind it: the release command, machine checks.
-- docs/fly/deploy.md, sections 6 and 11.
local api = require "dgrun.fly.api"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local logs = require "dgrun.fly.logs"
local machines = require "dgrun.fly.machines"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---How old a line may get before somebody who watches sees it.
local LIVE_SECONDS = 1

---@class dgrun.fly.one_off
---@field app string
---@field config table of the machine; restart, auto_destroy and dns are set here
---@field region? string
---@field secrets_version? integer
---@field wait_timeout number seconds until it is there
---@field timeout number seconds it may run; 0 for any
---@field on_line fun(line: string) what it prints
---@field attached? boolean somebody watches: lines are told as they come, those of the app alone,
---  and a cancel destroys it
---@field live? boolean lines come as they are printed, not now and then
---@field on_start? fun(id: string) it is there, and is about to be started

---The exit event, once it is there: a moment after the machine is gone.
local function exit_of(app, id)
    for _ = 1, 20 do
        local machine = machines.get(app, id)
        local exit = machine and machines.last_exit(machine)
        if exit then
            return exit
        end
        task.sleep(api.pace(1))
    end
end

local function wait_end(opts, id, follower)
    local deadline = opts.timeout > 0 and time.now() + opts.timeout or math.huge
    local slice = opts.live and LIVE_SECONDS or api.pace(10)
    while not machines.wait_once(opts.app, id, { state = "destroyed",
            seconds = math.min(slice, deadline - time.now()) }) do
        follower.drain()
        if time.now() >= deadline then
            pcall(machines.destroy, opts.app, id)
            return false
        end
    end
    return true
end

local function follow(opts, id, before)
    local follower = logs.follower(opts.app, id, opts.on_line)
    before()
    local ended = wait_end(opts, id, follower)
    local exit = ended and exit_of(opts.app, id) or nil
    follower.drain()
    return exit or (ended and { exit_code = -1, oom_killed = false }) or nil, id
end

---How long lines may be on their way when all has ended.
local LAST_LINES_SECONDS = 20

---Prints lines until the one that says that the command has ended.
local function tell_lines(opts, id)
    local ok, e = pcall(logs.follow, { app = opts.app, instance = id, on_entry = function(entry)
        local ended = logs.is_exit(entry)
        if entry.provider == "app" and not ended then
            opts.on_line(entry.message)
        end
        return ended
    end })
    if not ok and not err.is(e, "cancelled") then
        effect.note(("cannot read the output of machine %s: %s"):format(id, e.msg))
    end
end

---The same with lines as they come; a cancel ends the command.
local function follow_attached(opts, id, before)
    return task.scope(function()
        local gone = false
        task.defer(function()
            if not gone then
                machines.destroy(opts.app, id)
                effect.note(("machine %s was destroyed"):format(id))
            end
        end)
        local reader = task.spawn(function() tell_lines(opts, id) end, "lines of " .. id)
        before()
        local ended = wait_end(opts, id, { drain = function() end })
        gone = true
        local exit = ended and exit_of(opts.app, id) or nil
        pcall(task.timeout, api.pace(ended and LAST_LINES_SECONDS or 1), reader.join)
        reader.cancel()
        return exit or (ended and { exit_code = -1, oom_killed = false }) or nil, id
    end)
end

---The configuration of a machine that runs once.
---@param config table changed in place
---@return table config
function M.machine(config)
    config.restart, config.auto_destroy = { policy = "no" }, true
    config.dns = { skip_registration = true }
    return config
end

---@param opts dgrun.fly.one_off
---@return dgrun.fly.exit? # nil: it did not end in time, and was destroyed
---@return string id of the machine
function M.run(opts)
    local config = M.machine(opts.config)
    local machine = machines.create(opts.app, { region = opts.region, config = config,
        skip_launch = true, min_secrets_version = opts.secrets_version })
    return (opts.attached and follow_attached or follow)(opts, machine.id, function()
        if opts.on_start then
            opts.on_start(machine.id)
        end
        machines.wait(opts.app, machine.id, { state = "stopped", seconds = opts.wait_timeout })
        machines.start(opts.app, machine.id, nil, { fresh = true })
    end)
end

---Waits for the end of one that was started already.
---@param opts {app: string, timeout: number, on_line: fun(line: string)}
---@param id string
---@return dgrun.fly.exit? # as of `run`
---@return string id
function M.adopt(opts, id)
    return follow(opts, id, function() end)
end

return M
