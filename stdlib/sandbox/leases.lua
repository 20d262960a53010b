-- Leases of machines: docs/fly/machines-api.md, section 7.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local world_of = require "sandbox.world"

local M = {}

local MAX_TTL = 3600

---The lease that holds now, or nil: an expired one no longer exists.
function M.current(world, machine)
    local lease = machine.lease
    if lease and lease.expires > clock.now(world) then
        return lease
    end
end

---Refuses a change of a machine that somebody else holds.
function M.guard(world, machine, nonce)
    local lease = M.current(world, machine)
    if lease and lease.nonce ~= nonce then
        answer.fail_message(409, ("machine ID %s lease currently held by %s, expires at %s")
            :format(machine.id, lease.owner, clock.iso(world, lease.expires)))
    end
end

local function existing(context)
    local machine = context.machine
    if machine.state == "destroyed" or machine.state == "destroying" then
        answer.fail(404, "machine not found")
    end
    return machine
end

---The machine of a call that changes it: it is there, and nobody else holds it.
---@return table machine
function M.changeable(world, context)
    local machine = existing(context)
    M.guard(world, machine, context.nonce)
    return machine
end

---The same for metadata: the official client changes those of a machine that it holds without the
---lease's nonce.
---@return table machine
function M.changeable_metadata(world, context)
    return context.nonce and M.changeable(world, context) or existing(context)
end

---@return integer
function M.check_ttl(ttl)
    if type(ttl) ~= "number" or not (ttl >= 1 and ttl <= MAX_TTL) or ttl % 1 ~= 0 then
        answer.fail(400, "ttl must be whole seconds from 1 to " .. MAX_TTL)
    end
    return ttl
end

local function face(lease)
    return {
        status = "success",
        data = {
            nonce = lease.nonce, expires_at = math.floor(lease.expires), owner = lease.owner,
            description = lease.description, version = lease.version,
        },
    }
end

---@return table lease
function M.grant(world, machine, ttl, description)
    local nonce = require("host.digest").sha256(
        ("lease %d %s"):format(world_of.next_number(world), world.token)):sub(1, 12)
    machine.lease = {
        nonce = nonce, expires = clock.now(world) + ttl, owner = "sandbox@example.com",
        description = description or "", version = machine.instance_id,
    }
    return machine.lease
end

function M.find(world, context)
    local lease = M.current(world, context.machine)
    if not lease then
        answer.fail(404, "lease not found")
    end
    return face(lease)
end

function M.acquire(world, context, body)
    local machine = context.machine
    local description = input.field(body, "description", "string")
    local ttl = M.check_ttl(tonumber(context.query.ttl) or input.field(body, "ttl", "integer"))
    if machine.state == "destroyed" then
        answer.fail(404, "machine not found")
    end
    local lease = M.current(world, machine)
    if lease and context.nonce == lease.nonce then
        lease.expires = clock.now(world) + ttl
        world_of.save(world)
        return face(lease), 201
    end
    M.guard(world, machine, context.nonce)
    lease = M.grant(world, machine, ttl, description)
    world_of.save(world)
    return face(lease), 201
end

function M.release(world, context)
    local machine = context.machine
    if not M.current(world, machine) then
        answer.fail(404, "lease not found")
    end
    M.guard(world, machine, context.nonce)
    machine.lease = nil
    world_of.save(world)
    return { status = "success", data = { ok = true } }
end

return M
