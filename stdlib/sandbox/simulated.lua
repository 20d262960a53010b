-- A main process that does what the image was registered to do: behaviour.lua.
local behaviour_of = require "sandbox.behaviour"
local chatter = require "sandbox.chatter"
local checks = require "sandbox.checks"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local logs = require "sandbox.logs"
local world_of = require "sandbox.world"

local M = {}

local KILLED = 128 + 9

-- A server of its own handlers ends well when asked to, and goes on at these.
local polite = { SIGTERM = true, SIGINT = true, SIGQUIT = true }
local ignored = { SIGHUP = true, SIGUSR1 = true, SIGUSR2 = true }

local function sleep_long()
    repeat
        local ok = clock.sleep(3600)
    until not ok
end

local function grace_of(check)
    return input.duration(check.grace_period) or 0
end

---The results of the checks over time: none at first, then failures, then the lasting ones.
local function follow_checks(world, machine, behaviour)
    if behaviour.health == "never" then
        return
    end
    local began = clock.steady()
    local slow = behaviour.healthy_after or 0
    local good = behaviour.health ~= "critical"
    if not clock.sleep(world.pace) then
        return
    end
    -- A machine that ran when the local Fly was ended has not been started again: its checks are
    -- what they were.
    if not machine.check_status then
        checks.set(world, machine, function()
            return false, "the machine hasn't started"
        end)
    end
    -- One that was stopped meanwhile has no say in the checks of its successor.
    if not clock.sleep(math.max(world.pace, slow)) then
        return
    end
    local longest = 0
    for _, one in ipairs(behaviour.grace and checks.list(machine.config) or {}) do
        longest = math.max(longest, grace_of(one.check))
    end
    repeat
        local passed = clock.steady() - began
        checks.set(world, machine, function(check)
            local well = good and (not behaviour.grace or passed >= grace_of(check))
            return well, well and "200 OK" or "503 Service Unavailable"
        end)
        local ok = passed < longest and clock.sleep(world.pace)
    until not ok
end

---@return sandbox.process
function M.start(world, app, machine)
    local behaviour = behaviour_of.of(world, machine)
    -- What is checked is there to stay; a command without checks ends.
    local serves = #(machine.config.services or {}) > 0 or #checks.list(machine.config) > 0
    local crashes = serves and behaviour.crash
    local exit = { oom = behaviour.oom,
        exit_code = crashes and 1 or (not serves and behaviour.exit_code) or 0 }
    for _, line in ipairs(behaviour.log or {}) do
        logs.add(world, app, machine, line)
    end
    local stop_chatter = behaviour.chatter
        and chatter.start(world, app, machine, behaviour.chatter)
        or function() end
    local task = world_of.spawn(world, "simulated " .. machine.id, function()
        if serves and not crashes then
            follow_checks(world, machine, behaviour)
            sleep_long()
        else
            clock.sleep(not serves and behaviour.seconds or world.pace)
        end
    end)
    local cut_off = false
    return {
        body = behaviour.body or ("<h1>%s</h1>\n"):format(app.name),
        healthy = behaviour.health ~= "critical" and behaviour.health ~= "never",
        wait = function()
            task:join()
            stop_chatter()
            for _, line in ipairs(not cut_off and behaviour.log_at_end or {}) do
                logs.add(world, app, machine, line)
            end
            return exit
        end,
        stop = function(signal, seconds)
            cut_off = true
            local takes = behaviour.stop_seconds or 0
            if signal ~= "SIGKILL" and takes > 0 then
                clock.sleep(math.min(takes, seconds))
            end
            task:cancel()
            if signal == "SIGKILL" or takes > seconds then
                return { exit_code = KILLED, signal = 9 }
            end
            return { exit_code = 0 }
        end,
        signal = function(name, number)
            if ignored[name] then
                return
            elseif not polite[name] then
                exit = { exit_code = 128 + number, signal = number }
            end
            task:cancel()
        end,
    }
end

return M
