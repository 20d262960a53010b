-- Machines: made, changed, read, destroyed. docs/fly/machines-api.md, section 6. What happens to a
-- machine after an answer is lifecycle.lua.
local answer = require "sandbox.answer"
local behaviour = require "sandbox.behaviour"
local clock = require "sandbox.clock"
local images = require "sandbox.images"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local leases = require "sandbox.leases"
local lifecycle = require "sandbox.lifecycle"
local platform = require "sandbox.platform"
local schedules = require "sandbox.schedules"
local schema = require "sandbox.schema"
local standbys = require "sandbox.standbys"
local view = require "sandbox.machine_view"
local volumes = require "sandbox.volumes"
local world_of = require "sandbox.world"

local M = {}

-- How long a destroyed machine can still be read.
local AFTERLIFE_SECONDS = 300
local VERSIONS_KEPT = 20

---Forgets the machines of an app whose afterlife is over.
local function bury(world, app)
    local now = clock.now(world)
    for id, machine in pairs(app.machines) do
        if machine.destroyed and machine.destroyed + AFTERLIFE_SECONDS < now then
            app.machines[id] = nil
        end
    end
end

function M.find(world, app, id)
    bury(world, app)
    return app.machines[id] or answer.fail(404, "machine not found")
end

function M.list(world, context)
    bury(world, context.app)
    return view.list(world, context)
end

function M.get(world, context)
    return view.face(world, context.machine, context)
end

local function image_of(world, config)
    local image = images.resolve(world, config.image)
    if not image then
        answer.fail(400, ("invalid_argument: failed to get manifest %s: MANIFEST_UNKNOWN"):format(
            config.image))
    end
    return image
end

---Secrets that a new version of a machine sees.
local function secrets_version(app, body, before)
    local wanted = body.min_secrets_version
    if not wanted or wanted == json.null then
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

---A configuration becomes the machine's.
local function configure(world, machine, config, image)
    behaviour.count(world, machine, image)
    config.metadata = config.metadata or {}
    machine.config = config
    machine.image_ref = images.reference(image)
    machine.instance_id = world_of.ulid(world)
    machine.restart_count = 0
    table.insert(machine.versions, 1, { version = machine.instance_id,
        user_config = json.decode(json.encode(config)) })
    machine.versions[VERSIONS_KEPT + 1] = nil
    schedules.arm(world, machine)
end

function M.create(world, context, body)
    schema.machine(body)
    local app = context.app
    local name, region = input.field(body, "name", "string"), input.field(body, "region", "string")
    local ttl = input.field(body, "lease_ttl", "integer")
    if ttl then
        leases.check_ttl(ttl)
    end
    region = platform.check_region(region)
    if name then
        check_name(app, name)
    end
    local image = image_of(world, body.config)
    standbys.check(app, body.config)
    local mounted = volumes.check_mounts(app, body.config, region)
    local number = world_of.next_number(world)
    local machine = {
        id = world_of.machine_id(world), name = name or ("quiet-river-%d"):format(number),
        state = "created", region = region, private_ip = ("fdaa:0:1:a7b::%x"):format(number),
        created_at = clock.iso(world), updated_at = clock.iso(world), born = clock.now(world),
        events = json.array {}, versions = json.array {},
        cordoned = body.skip_service_registration == true, session = context.session,
        secrets_version = secrets_version(app, body),
    }
    configure(world, machine, body.config, image)
    app.machines[machine.id] = machine
    volumes.attach(mounted, machine.id)
    lifecycle.event(world, machine, "launch", "created", "user")
    local shown = view.face(world, machine)
    if ttl then
        shown.nonce = leases.grant(world, machine, ttl).nonce
    end
    lifecycle.launch(world, app, machine, body.skip_launch == true)
    return shown
end

function M.update(world, context, body)
    schema.machine(body)
    local machine = leases.changeable(world, context)
    local current = input.field(body, "current_version", "string")
    if current and current ~= machine.instance_id then
        answer.fail(409, "current_version does not match the machine's version")
    elseif machine.state == "replacing" then
        answer.fail(409,
            "aborted: machine is replacing: concurrent update in progress")
    end
    local image = image_of(world, body.config)
    standbys.check(context.app, body.config, machine)
    volumes.check_same(machine, body.config)
    machine.secrets_version = secrets_version(context.app, body, machine.secrets_version)
    configure(world, machine, body.config, image)
    lifecycle.event(world, machine, "update", "replacing", "user")
    -- The answer comes before the swap: it still shows the old state.
    local shown = view.face(world, machine)
    lifecycle.replace(world, context.app, machine, body.skip_launch == true)
    return shown
end

function M.delete(world, context)
    local machine = leases.changeable(world, context)
    local force = context.query.force == "true" or context.query.kill == "true"
    if not force and machine.state ~= "stopped" and machine.state ~= "suspended" then
        answer.fail(412, ("failed_precondition: unable to destroy machine, not currently stopped, "
            .. "currently %s"):format(machine.state))
    end
    lifecycle.destroy(world, context.app, machine)
    return { ok = true }
end

function M.versions(_, context)
    return context.machine.versions
end

function M.events(_, context)
    return view.events(context.machine, input.integer(context.query, "limit", 20, 1, 50))
end

return M
