-- Waiting for a state of a machine: machines-api.md section 6.9.
local answer = require "sandbox.answer"
local time = require "host.time"
local world_of = require "sandbox.world"

local M = {}

local WAIT_LIMIT = 60

local waitable = { started = true, stopped = true, suspended = true, destroyed = true,
    failed = true, settled = true }
local transient = { creating = true, starting = true, stopping = true, restarting = true,
    suspending = true, updating = true, replacing = true, destroying = true, launch_failed = true }

local function wanted_states(query)
    local given = query.state or "started"
    local wanted = {}
    for _, text in ipairs(type(given) == "table" and given or { given }) do
        for state in text:gmatch("[^,]+") do
            if not waitable[state] then
                answer.fail(400, ("invalid_argument: state %q cannot be waited for"):format(state))
            end
            wanted[state] = true
        end
    end
    return wanted
end

function M.state(world, context)
    local machine, query = context.machine, context.query
    local wanted = wanted_states(query)
    local seconds = tonumber(query.timeout or WAIT_LIMIT)
    if not seconds or seconds < 1 or seconds > WAIT_LIMIT then
        answer.fail(400, "invalid_argument: timeout must be from 1 to 60")
    end
    local version = query.version or query.instance_id
    local deadline = time.now() + seconds
    while true do
        if machine.state == "destroyed" and not wanted.destroyed then
            answer.fail(404, "machine not found")
        end
        local settled = wanted.settled and not transient[machine.state] and not machine.preparing
        local current = not version or version == machine.instance_id or wanted.destroyed
        if current and (wanted[machine.state] or settled) then
            return { ok = true, state = machine.state, version = machine.instance_id }
        end
        local left = deadline - time.now()
        if left <= 0 then
            local names = {}
            for state in pairs(wanted) do
                names[#names + 1] = state
            end
            answer.fail(408, ("deadline_exceeded: machine failed to reach desired state, %s, "
                .. "currently %s"):format(table.concat(names, ","), machine.state))
        end
        world_of.wait_change(world, machine.id, left)
    end
end

return M
