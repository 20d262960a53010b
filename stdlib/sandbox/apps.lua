-- Apps, their addresses and volumes: machines-api.md sections 4 and 12.
local answer = require "sandbox.answer"
local json = require "dgrun.json"
local world_of = require "sandbox.world"

local M = {}

local function new_app(world, name)
    local app = {
        name = name, id = ("app_%d"):format(world_of.next_number(world)), status = "pending",
        created_at = world_of.now(), secrets = {}, secrets_version = 0,
        deployed_secrets_version = 0, machines = {}, releases = json.array {}, ips = json.array {},
    }
    world.apps[name] = app
    return app
end

---Creates an app that does not exist yet.
function M.ensure(world, name)
    if not world.apps[name] then
        new_app(world, name)
        world_of.save(world)
    end
end

function M.find(world, name)
    return world.apps[name] or answer.fail(404, "Could not find App \"" .. name .. "\"")
end

local function face(app)
    local count = 0
    for _, machine in pairs(app.machines) do
        count = count + (machine.state ~= "destroyed" and 1 or 0)
    end
    return {
        id = app.id, name = app.name, status = app.status, machine_count = count,
        volume_count = 0, network = "default",
        organization = { name = "Personal", slug = "personal" },
    }
end

function M.list(world, context)
    if context.query.org_slug ~= "personal" then
        answer.fail(404, "organization not found")
    end
    local apps = json.array {}
    for _, app in pairs(world.apps) do
        apps[#apps + 1] = face(app)
    end
    table.sort(apps, function(a, b) return a.name < b.name end)
    return { apps = apps, total_apps = #apps }
end

function M.create(world, _, body)
    local name = body and (body.name or body.app_name)
    if type(name) ~= "string" or not name:match("^[a-z0-9][a-z0-9-]*$") or #name > 63 then
        answer.fail(422, "Name must be lower case letters, digits and dashes")
    elseif world.apps[name] then
        answer.fail(422, "Name has already been taken", "name_taken")
    elseif body.org_slug ~= "personal" then
        answer.fail(404, "organization not found")
    end
    local app = new_app(world, name)
    world_of.save(world)
    return face(app), 201
end

function M.get(_, context)
    return face(context.app)
end

function M.delete(world, context)
    for _, machine in pairs(context.app.machines) do
        require("sandbox.lifecycle").destroy(world, context.app, machine)
    end
    world.apps[context.app.name] = nil
    world_of.save(world)
    return nil, 202
end

function M.list_ips(_, context)
    return { ips = json.array(context.app.ips) }
end

local addresses = {
    v4 = "198.51.100.%d", shared_v4 = "203.0.113.%d", v6 = "2001:db8::%d", private_v6 = "fdaa::%d",
}

function M.assign_ip(world, context, body)
    local pattern = body and addresses[body.type]
    if not pattern then
        answer.fail(422, "type must be v4, v6, shared_v4 or private_v6")
    end
    local ip = {
        ip = pattern:format(#context.app.ips + 1), region = "global", service_name = "",
        shared = body.type == "shared_v4", created_at = world_of.now(),
    }
    table.insert(context.app.ips, ip)
    world_of.save(world)
    return ip
end

function M.list_volumes()
    return json.array {}
end

function M.regions()
    local regions = json.array {}
    for _, code in ipairs { "ams", "ewr", "fra", "iad", "lhr" } do
        regions[#regions + 1] = { code = code, name = code, gateway_available = true,
            requires_paid_plan = false, deprecated = false }
    end
    return { Regions = regions, Nearest = "ewr" }
end

return M
