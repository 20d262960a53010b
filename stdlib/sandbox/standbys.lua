-- Machines that wait for another's host to fail: docs/fly/machines-api.md, section 9, `standbys`.
local answer = require "sandbox.answer"
local lifecycle = require "sandbox.lifecycle"
local world_of = require "sandbox.world"

local M = {}

local statuses = { ok = true, unknown = true, unreachable = true }

---Refuses standbys of machines that are not there, and for machines with services.
---@param machine? table that is updated
function M.check(app, config, machine)
    for _, id in ipairs(config.standbys or {}) do
        local other = app.machines[id]
        if not other or other.state == "destroyed" or other == machine then
            answer.fail(400, ("invalid_argument: config.standbys: no machine %s"):format(id))
        elseif #(config.services or {}) > 0 then
            answer.fail(400, "invalid_argument: a machine with services cannot be a standby")
        end
    end
end

local function take_over(world, app, lost)
    for _, machine in pairs(app.machines) do
        for _, id in ipairs(machine.config.standbys or {}) do
            if id == lost.id and machine.state == "stopped" then
                lifecycle.start(world, app, machine, "flyd")
            end
        end
    end
end

---POST /sandbox/v1/apps/{app}/machines/{id}/host {status}: its host fails, or comes back
function M.set_host(world, context, body)
    if not body or not statuses[body.status] then
        answer.fail(422, "status must be ok, unknown or unreachable")
    end
    context.machine.host_status = body.status
    world_of.changed(world, context.machine)
    if body.status == "unreachable" then
        take_over(world, context.app, context.machine)
    end
    return { ok = true }
end

return M
