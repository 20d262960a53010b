-- Leases of machines: machines-api.md section 7.
local answer = require "sandbox.answer"
local time = require "host.time"
local world_of = require "sandbox.world"

local M = {}

local MAX_TTL = 3600

---The lease that holds now, or nil: an expired one no longer exists.
function M.current(machine)
    local lease = machine.lease
    if lease and lease.expires > time.wall() then
        return lease
    end
end

---Refuses a change of a machine that somebody else holds.
function M.guard(machine, nonce)
    local lease = M.current(machine)
    if lease and lease.nonce ~= nonce then
        answer.fail_message(409, ("machine ID %s lease currently held by %s, expires at %s")
            :format(machine.id, lease.owner, time.iso(lease.expires)))
    end
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
        nonce = nonce, expires = time.wall() + ttl, owner = "sandbox@example.com",
        description = description or "", version = machine.instance_id,
    }
    return machine.lease
end

function M.find(_, context)
    local lease = M.current(context.machine)
    if not lease then
        answer.fail(404, "lease not found")
    end
    return face(lease)
end

function M.acquire(world, context, body)
    local machine = context.machine
    local ttl = tonumber(context.query.ttl) or (body and body.ttl)
    if type(ttl) ~= "number" or ttl < 1 or ttl > MAX_TTL or ttl % 1 ~= 0 then
        answer.fail(400, "ttl must be whole seconds from 1 to " .. MAX_TTL)
    elseif machine.state == "destroyed" then
        answer.fail(404, "machine not found")
    end
    local lease = M.current(machine)
    if lease and context.nonce == lease.nonce then
        lease.expires = time.wall() + ttl
        world_of.save(world)
        return face(lease)
    end
    M.guard(machine, context.nonce)
    lease = M.grant(world, machine, ttl, body and body.description)
    world_of.save(world)
    return face(lease), 201
end

function M.release(world, context)
    local machine = context.machine
    if not M.current(machine) then
        answer.fail(404, "lease not found")
    end
    M.guard(machine, context.nonce)
    machine.lease = nil
    world_of.save(world)
    return { status = "success", data = { ok = true } }
end

return M
