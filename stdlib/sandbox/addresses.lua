-- IP addresses of apps: docs/fly/machines-api.md, section 4.1.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local world_of = require "sandbox.world"

local M = {}

local patterns = {
    v4 = "198.51.100.%d", shared_v4 = "203.0.113.%d", v6 = "2001:db8::%x", private_v6 = "fdaa::%x",
}

function M.list(_, context)
    return { ips = json.array(context.app.ips) }
end

function M.assign(world, context, body)
    local kind = input.field(body, "type", "string")
    if not patterns[kind or ""] then
        answer.fail(422, "type must be v4, v6, shared_v4 or private_v6")
    end
    local app = context.app
    app.addresses_given = (app.addresses_given or 0) + 1
    local ip = {
        ip = patterns[kind]:format(app.addresses_given % 254 + 1), shared = kind == "shared_v4",
        region = input.field(body, "region", "string") or "global",
        service_name = input.field(body, "service_name", "string") or "",
        created_at = clock.iso(world),
    }
    table.insert(app.ips, ip)
    world_of.save(world)
    return ip
end

function M.release(world, context)
    for i, ip in ipairs(context.app.ips) do
        if ip.ip == context.parameters.ip then
            table.remove(context.app.ips, i)
            world_of.save(world)
            return nil, 204
        end
    end
    answer.fail(404, "ip address not found")
end

return M
