-- Volumes of an app, and the machines that hold them: docs/fly/machines-api.md, section 12.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local platform = require "sandbox.platform"
local world_of = require "sandbox.world"

local M = {}

local DEFAULT_GB, LARGEST_GB = 1, 500
local DEFAULT_RETENTION, LONGEST_RETENTION = 5, 60
-- How long a volume that is being destroyed is still listed.
local AFTERLIFE_SECONDS = 300
local BLOCK = 4096

local function bury(world, app)
    local now = clock.now(world)
    for id, volume in pairs(app.volumes) do
        if volume.destroyed and volume.destroyed + AFTERLIFE_SECONDS < now then
            app.volumes[id] = nil
        end
    end
end

local function face(volume)
    local bytes = volume.size_gb * 2 ^ 30
    return {
        id = volume.id, name = volume.name, state = volume.state, size_gb = volume.size_gb,
        region = volume.region, zone = volume.zone, encrypted = volume.encrypted,
        attached_machine_id = volume.machine, created_at = volume.created_at,
        snapshot_retention = volume.snapshot_retention,
        auto_backup_enabled = volume.auto_backup_enabled, fstype = volume.fstype,
        host_status = "ok", type = "local", block_size = BLOCK, blocks = bytes / BLOCK,
        blocks_free = bytes / BLOCK, blocks_avail = bytes / BLOCK, bytes_used = 0,
        bytes_total = bytes,
    }
end

---The volume of a call, as it is kept.
---@return table
function M.find(world, context)
    bury(world, context.app)
    return context.app.volumes[context.parameters.volume]
        or answer.fail(404, "volume not found")
end

local function size_of(body, default, least)
    local size = input.field(body, "size_gb", "integer") or default
    if not size or size < least or size > LARGEST_GB then
        answer.fail(400, ("invalid_argument: size_gb must be from %d to %d"):format(least,
            LARGEST_GB))
    end
    return size
end

local function retention_of(body, default)
    local days = input.field(body, "snapshot_retention", "integer") or default
    if days < 1 or days > LONGEST_RETENTION then
        answer.fail(400, ("invalid_argument: snapshot_retention must be from 1 to %d"):format(
            LONGEST_RETENTION))
    end
    return days
end

local function flag(body, name, default)
    local value = input.field(body, name, "boolean")
    if value == nil then
        return default
    end
    return value
end

function M.list(world, context)
    bury(world, context.app)
    local volumes = json.array {}
    for _, volume in pairs(context.app.volumes) do
        volumes[#volumes + 1] = face(volume)
    end
    table.sort(volumes, function(a, b) return a.id < b.id end)
    return volumes
end

function M.create(world, context, body)
    local name = input.field(body, "name", "string")
    if not name or not name:match("^[a-z0-9_]+$") or #name > 30 then
        answer.fail(422, "name must be up to 30 lower case letters, digits and underscores")
    end
    local number = world_of.next_number(world)
    local volume = {
        id = "vol_" .. world_of.machine_id(world), name = name, state = "created",
        region = platform.check_region(input.field(body, "region", "string")),
        size_gb = size_of(body, DEFAULT_GB, 1), zone = ("zone%d"):format(number % 4),
        encrypted = flag(body, "encrypted", true), created_at = clock.iso(world),
        snapshot_retention = retention_of(body, DEFAULT_RETENTION),
        auto_backup_enabled = flag(body, "auto_backup_enabled", true),
        fstype = input.field(body, "fstype", "string") or "ext4",
    }
    context.app.volumes[volume.id] = volume
    world_of.save(world)
    return face(volume)
end

function M.get(world, context)
    return face(M.find(world, context))
end

function M.update(world, context, body)
    local volume = M.find(world, context)
    volume.snapshot_retention = retention_of(body, volume.snapshot_retention)
    volume.auto_backup_enabled = flag(body, "auto_backup_enabled", volume.auto_backup_enabled)
    world_of.save(world)
    return face(volume)
end

function M.extend(world, context, body)
    local volume = M.find(world, context)
    volume.size_gb = size_of(body, nil, volume.size_gb)
    world_of.save(world)
    return { volume = face(volume), needs_restart = volume.machine ~= nil }
end

function M.delete(world, context)
    local volume = M.find(world, context)
    if volume.machine then
        answer.fail(412, ("failed_precondition: volume in use by machine %s"):format(
            volume.machine))
    end
    volume.state = "pending_destroy"
    volume.destroyed = volume.destroyed or clock.now(world)
    world_of.save(world)
    return face(volume)
end

local function named(app, name, region)
    for _, volume in pairs(app.volumes) do
        if volume.name == name and volume.region == region and not volume.machine
            and not volume.destroyed then
            return volume
        end
    end
end

---The volumes that a new machine is to hold; one named without its id is chosen here.
---@return table[]
function M.check_mounts(app, config, region)
    local mounts = config.mounts or {}
    if #mounts > 1 then
        answer.fail(400, "invalid_argument: config.mounts: a machine has one at most")
    end
    local found = {}
    for i, mount in ipairs(mounts) do
        local volume = app.volumes[mount.volume or ""]
            or (not mount.volume and named(app, mount.name, region))
        if not volume or volume.destroyed then
            answer.fail(422, ("volume %s not found"):format(mount.volume or mount.name or ""))
        elseif volume.region ~= region then
            answer.fail(422, ("volume %s is in region %s, not %s"):format(volume.id,
                volume.region, region))
        elseif volume.machine then
            answer.fail(412, ("failed_precondition: volume %s is in use by machine %s"):format(
                volume.id, volume.machine))
        elseif not mount.path then
            answer.fail(400, "invalid_argument: config.mounts[0].path is required")
        end
        mount.volume = volume.id
        found[i] = volume
    end
    return found
end

---An update keeps the volume.
function M.check_same(machine, config)
    local old, new = (machine.config.mounts or {})[1], (config.mounts or {})[1]
    if new and not new.volume and old and new.name == old.name then
        new.volume = old.volume
    end
    if (old and old.volume) ~= (new and new.volume) then
        answer.fail(422, "the volume of a machine cannot be changed")
    end
end

---@param volumes table[]
function M.attach(volumes, id)
    for _, volume in ipairs(volumes) do
        volume.machine = id
    end
end

---A destroyed machine's volumes are free again.
function M.detach(app, id)
    for _, volume in pairs(app.volumes) do
        if volume.machine == id then
            volume.machine = nil
        end
    end
end

---@return integer
function M.count(app)
    local count = 0
    for _, volume in pairs(app.volumes) do
        count = count + (volume.destroyed and 0 or 1)
    end
    return count
end

return M
