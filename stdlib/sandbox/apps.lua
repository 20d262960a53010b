-- Apps: docs/fly/machines-api.md, section 4.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local lifecycle = require "sandbox.lifecycle"
local logs = require "sandbox.logs"
local volumes = require "sandbox.volumes"
local world_of = require "sandbox.world"

local M = {}

local function new_app(world, name)
    local number = world_of.next_number(world)
    local app = {
        name = name, id = ("app_%d"):format(number), number = number, status = "pending",
        created_at = clock.iso(world), secrets = {}, secrets_version = 0,
        deployed_secrets_version = 0, machines = {}, releases = json.array {}, ips = json.array {},
        volumes = {},
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

---POST /sandbox/v1/apps {names: […]}: those that do not exist are created.
function M.ensure_all(world, _, body)
    local names = input.field(body or {}, "names", "table") or {}
    for _, name in ipairs(names) do
        if type(name) ~= "string" then
            answer.fail(422, "names must be a list of strings")
        end
        M.ensure(world, name)
    end
    return { ok = true }
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
        internal_numeric_id = app.number or 0, network_cidr = "fdaa:0:1::/48",
        volume_count = volumes.count(app), network = app.network or "default",
        organization = { name = "Personal", slug = "personal", internal_numeric_id = 1 },
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
    local name = input.field(body, "name", "string") or input.field(body, "app_name", "string")
    if not name or not name:match("^[a-z0-9][a-z0-9-]*$") or #name > 63 then
        answer.fail(422, "Name must be lower case letters, digits and dashes")
    elseif world.apps[name] then
        answer.fail(422, "Name has already been taken", "name_taken")
    elseif body.org_slug ~= "personal" then
        answer.fail(404, "organization not found")
    end
    local network = input.field(body, "network", "string")
    local app = new_app(world, name)
    app.network = network ~= "" and network or nil
    world_of.save(world)
    return face(app), 201
end

function M.get(_, context)
    return face(context.app)
end

function M.delete(world, context)
    for _, machine in pairs(context.app.machines) do
        lifecycle.destroy(world, context.app, machine)
    end
    world.apps[context.app.name] = nil
    -- Another app of this name begins without anything of it.
    world.vault:forget(context.app.name)
    logs.forget(world, context.app.name)
    world_of.save(world)
    return nil, 202
end

return M
