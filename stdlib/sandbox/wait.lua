-- Waiting for a state of a machine: docs/fly/machines-api.md, section 6.9.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
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
    for state in given:gmatch("[^,]+") do
        if not waitable[state] then
            answer.fail(400, ("invalid_argument: state %q cannot be waited for"):format(state))
        end
        wanted[state] = true
    end
    return wanted
end

function M.state(world, context)
    local machine, query = context.machine, context.query
    local wanted = wanted_states(query)
    local seconds = input.integer(query, "timeout", WAIT_LIMIT, 1, WAIT_LIMIT)
    local version = query.version or query.instance_id
    local deadline = clock.steady() + seconds
    while true do
        if machine.state == "destroyed" and not wanted.destroyed then
            answer.fail(404, "machine not found")
        end
        local settled = wanted.settled and not transient[machine.state] and not machine.preparing
        local current = not version or version == machine.instance_id or wanted.destroyed
        -- Ids of events sort by time.
        local event = machine.events[1] and machine.events[1].id
        local later = not query.from_event_id or (event or "") > query.from_event_id
        if current and later and (wanted[machine.state] or settled) then
            return { ok = true, state = machine.state, version = machine.instance_id,
                event_id = event }
        end
        local left = deadline - clock.steady()
        if left <= 0 then
            local names = {}
            for state in pairs(wanted) do
                names[#names + 1] = state
            end
            answer.fail(408, ("deadline_exceeded: machine failed to reach desired state, %s, "
                .. "currently %s"):format(table.concat(names, ","), machine.state))
        end
        world_of.wait_change(world, machine.id, left)
        if world.closing then
            answer.fail(503, "the sandbox is stopping")
        end
    end
end

return M
