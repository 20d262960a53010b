-- The endpoints of machines: machines-api.md section 6. What happens to a machine after an answer
-- is lifecycle.lua.
local answer = require "sandbox.answer"
local json = require "dgrun.json"
local leases = require "sandbox.leases"
local lifecycle = require "sandbox.lifecycle"
local registry = require "sandbox.registry"
local schema = require "sandbox.schema"
local time = require "host.time"
local world_of = require "sandbox.world"

local M = {}

-- How long a destroyed machine can still be read.
local AFTERLIFE_SECONDS = 300

function M.find(app, id)
    local machine = app.machines[id]
    if not machine or (machine.destroyed and machine.destroyed + AFTERLIFE_SECONDS < time.wall())
    then
        answer.fail(404, "machine not found")
    end
    return machine
end

local function alive(context)
    local machine = context.machine
    if machine.state == "destroyed" or machine.state == "destroying" then
        answer.fail(404, "machine not found")
    end
    leases.guard(machine, context.nonce)
    return machine
end

local function face(machine, context)
    local lease = context and context.query.include_leases == "true" and leases.current(machine)
    local events = json.array {}
    for i = 1, math.min(#machine.events, 20) do
        events[i] = machine.events[i]
    end
    return {
        id = machine.id, name = machine.name, state = machine.state, region = machine.region,
        image_ref = machine.image_ref, instance_id = machine.instance_id,
        private_ip = machine.private_ip, created_at = machine.created_at,
        updated_at = machine.updated_at, config = machine.config, events = events,
        checks = lifecycle.checks(machine), cordoned = machine.cordoned, host_status = "ok",
        lease = lease and { owner = lease.owner, description = lease.description,
            expires_at = math.floor(lease.expires) } or nil,
    }
end

function M.list(_, context)
    local wanted = {}
    for state in (context.query.state or ""):gmatch("[^,]+") do
        wanted[state] = true
    end
    local machines = json.array {}
    for _, machine in pairs(context.app.machines) do
        local shown = machine.state ~= "destroyed" or context.query.include_deleted == "true"
        if shown and (not next(wanted) or wanted[machine.state])
            and (not context.query.region or context.query.region == machine.region) then
            machines[#machines + 1] = face(machine, context)
        end
    end
    table.sort(machines, function(a, b) return a.id < b.id end)
    return machines
end

function M.get(_, context)
    return face(context.machine, context)
end

local function image_of(world, config)
    local image = registry.resolve(world, config.image)
    if not image then
        answer.fail(400, ("invalid_argument: failed to get manifest %s: MANIFEST_UNKNOWN"):format(
            config.image))
    end
    return image
end

---Secrets that a new version of a machine sees.
local function secrets_version(app, body, before)
    local wanted = body.min_secrets_version
    if not wanted then
        return math.max(before or 0, app.deployed_secrets_version)
    end
    if wanted > app.secrets_version then
        answer.fail(412, ("min_secrets_version %d is not yet available on this app"):format(wanted))
    end
    app.deployed_secrets_version = math.max(app.deployed_secrets_version, wanted)
    return app.secrets_version
end

local function check_name(app, name)
    for _, other in pairs(app.machines) do
        if other.name == name and other.state ~= "destroyed" then
            answer.fail(422, ("unique machine name violation, machine ID %s already exists with "
                .. "name %q"):format(other.id, name), "name_taken")
        end
    end
end

function M.create(world, context, body)
    schema.machine(body)
    local app = context.app
    local image = image_of(world, body.config)
    if body.name then
        check_name(app, body.name)
    end
    local number = world_of.next_number(world)
    local machine = {
        id = world_of.machine_id(world), name = body.name or ("quiet-river-%d"):format(number),
        state = "created", region = body.region or "ewr", image_ref = registry.reference(image),
        instance_id = world_of.ulid(world), private_ip = ("fdaa:0:1:a7b::%x"):format(number),
        created_at = world_of.now(), updated_at = world_of.now(), config = body.config,
        events = json.array {}, cordoned = body.skip_service_registration == true,
        secrets_version = secrets_version(app, body), restart_count = 0,
    }
    machine.config.metadata = machine.config.metadata or {}
    app.machines[machine.id] = machine
    lifecycle.event(world, machine, "launch", "created", "user")
    local shown = face(machine)
    if body.lease_ttl then
        shown.nonce = leases.grant(world, machine, body.lease_ttl).nonce
    end
    lifecycle.launch(world, app, machine, body.skip_launch == true)
    return shown
end

function M.update(world, context, body)
    schema.machine(body)
    local machine = alive(context)
    if body.current_version and body.current_version ~= machine.instance_id then
        answer.fail(409, "current_version does not match the machine's version")
    elseif machine.state == "replacing" then
        answer.fail(412, "failed_precondition: machine getting replaced, refusing to update")
    end
    local image = image_of(world, body.config)
    machine.secrets_version = secrets_version(context.app, body, machine.secrets_version)
    machine.image_ref = registry.reference(image)
    machine.instance_id = world_of.ulid(world)
    machine.config = body.config
    machine.config.metadata = machine.config.metadata or {}
    machine.restart_count = 0
    lifecycle.event(world, machine, "update", "replacing", "user")
    -- The answer comes before the swap: it still shows the old state.
    local shown = face(machine)
    lifecycle.replace(world, context.app, machine, body.skip_launch == true)
    return shown
end

function M.delete(world, context)
    local machine = alive(context)
    local force = context.query.force == "true" or context.query.kill == "true"
    if not force and machine.state ~= "stopped" and machine.state ~= "suspended" then
        answer.fail(412, ("failed_precondition: unable to destroy machine, not currently stopped, "
            .. "currently %s"):format(machine.state))
    end
    lifecycle.destroy(world, context.app, machine)
    return { ok = true }
end

local startable = { stopped = true, suspended = true, created = true, failed = true }

function M.start(world, context)
    local machine = alive(context)
    local before = machine.state
    if before == "started" then
        return { previous_state = "started", migrated = false, new_host = "" }
    elseif before == "replacing" then
        answer.fail(412, "failed_precondition: machine getting replaced, refusing to start")
    elseif not startable[before] or machine.preparing then
        answer.fail(412, ("failed_precondition: unable to start machine from current state: '%s'")
            :format(before))
    end
    lifecycle.start(world, context.app, machine, "user")
    return { previous_state = before, migrated = false, new_host = "" }
end

---A tick of the schedule: what Fly's scheduler does when the time has come.
function M.tick(world, context)
    local machine = context.machine
    if not machine.config.schedule then
        answer.fail(422, "the machine has no schedule")
    elseif machine.state == "stopped" then
        lifecycle.start(world, context.app, machine, "flyd")
    end
    return { ok = true }
end

function M.stop(world, context)
    local machine = alive(context)
    if machine.state == "started" or machine.state == "starting" then
        lifecycle.stop(world, context.app, machine)
    end
    return { ok = true }
end

function M.suspend(world, context)
    local machine = alive(context)
    if machine.state ~= "started" then
        answer.fail(412, "failed_precondition: machine is not started")
    end
    lifecycle.stop(world, context.app, machine, "suspended")
    return { ok = true }
end

function M.restart(world, context)
    local machine = alive(context)
    if machine.state ~= "started" then
        answer.fail(412, ("failed_precondition: unable to restart machine, currently %s"):format(
            machine.state))
    end
    lifecycle.replace(world, context.app, machine, false)
    return { ok = true }
end

local function set_cordoned(world, context, cordoned)
    alive(context).cordoned = cordoned
    world_of.changed(world, context.machine)
    return { ok = true }
end

function M.cordon(world, context) return set_cordoned(world, context, true) end

function M.uncordon(world, context) return set_cordoned(world, context, false) end

function M.events(_, context)
    local limit = math.min(tonumber(context.query.limit) or 20, 50)
    local events = json.array {}
    for i = 1, math.min(limit, #context.machine.events) do
        events[i] = context.machine.events[i]
    end
    return events
end

function M.metadata(_, context)
    return context.machine.config.metadata
end

function M.set_metadata(world, context, body)
    if not body or type(body.value) ~= "string" then
        answer.fail(400, "value must be a string")
    end
    alive(context).config.metadata[context.parameters.key] = body.value
    world_of.changed(world, context.machine)
    return nil, 204
end

function M.delete_metadata(world, context)
    alive(context).config.metadata[context.parameters.key] = nil
    world_of.changed(world, context.machine)
    return nil, 204
end

return M
