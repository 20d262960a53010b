-- Metadata of machines: docs/fly/machines-api.md, section 6.8. Writing them makes no new version.
local answer = require "sandbox.answer"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local leases = require "sandbox.leases"
local world_of = require "sandbox.world"

local M = {}

function M.all(_, context)
    return context.machine.config.metadata
end

function M.get(_, context)
    local value = context.machine.config.metadata[context.parameters.key]
    return value and { value = value } or answer.fail(404, "metadata key not found")
end

---@param body table? {metadata, machine_version?}
---@return table machine
local function check(world, context, body)
    local given = input.field(body, "metadata", "table")
    if not given or json.is_array(given) then
        answer.fail(400, "invalid_argument: metadata must be an object of strings")
    end
    for name, value in pairs(given) do
        if type(name) ~= "string" or (type(value) ~= "string" and value ~= json.null) then
            answer.fail(400, ("invalid_argument: metadata.%s must be a string"):format(
                tostring(name)))
        end
    end
    local machine = leases.changeable_metadata(world, context)
    local version = input.field(body, "machine_version", "string")
    if version and version ~= machine.instance_id then
        answer.fail(412, "failed_precondition: machine_version does not match")
    end
    return machine
end

local function write(world, machine, metadata, given)
    for name, value in pairs(given) do
        metadata[name] = value ~= json.null and value ~= "" and value or nil
    end
    machine.config.metadata = metadata
    world_of.changed(world, machine)
    return nil, 204
end

function M.replace(world, context, body)
    return write(world, check(world, context, body), {}, body.metadata)
end

function M.merge(world, context, body)
    local machine = check(world, context, body)
    return write(world, machine, machine.config.metadata, body.metadata)
end

function M.set(world, context, body)
    local value = input.field(body, "value", "string")
    if not value then
        answer.fail(400, "invalid_argument: value must be a string")
    end
    local machine = leases.changeable_metadata(world, context)
    machine.config.metadata[input.clean(context.parameters.key)] = value
    world_of.changed(world, machine)
    return nil, 204
end

function M.delete(world, context)
    local machine = leases.changeable_metadata(world, context)
    machine.config.metadata[context.parameters.key] = nil
    world_of.changed(world, machine)
    return nil, 204
end

return M
