-- Snapshots of volumes, until their days are over: docs/fly/machines-api.md, section 12. A volume
-- here has no content, and so has its snapshot.
local clock = require "sandbox.clock"
local digest = require "host.digest"
local json = require "dgrun.core.json"
local volumes = require "sandbox.volumes"
local world_of = require "sandbox.world"

local M = {}

local DAY = 86400

local function face(world, snapshot)
    return {
        id = snapshot.id, created_at = clock.iso(world, snapshot.at), digest = snapshot.digest,
        retention_days = snapshot.days, size = 0, volume_size = snapshot.gb * 2 ^ 30,
        status = "created",
    }
end

---GET /v1/apps/{app}/volumes/{volume}/snapshots, the newest first
function M.list(world, context)
    local volume, now = volumes.find(world, context), clock.now(world)
    local list = json.array {}
    for _, snapshot in ipairs(volume.snapshots or {}) do
        list[#list + 1] = snapshot.at + snapshot.days * DAY > now and face(world, snapshot) or nil
    end
    return list
end

---POST /v1/apps/{app}/volumes/{volume}/snapshots
function M.create(world, context)
    local volume = volumes.find(world, context)
    local number = world_of.next_number(world)
    volume.snapshots = volume.snapshots or json.array {}
    table.insert(volume.snapshots, 1, {
        id = ("vs_%d"):format(number), at = clock.now(world), days = volume.snapshot_retention,
        gb = volume.size_gb, digest = "sha256:" .. digest.sha256(("snapshot %d"):format(number)),
    })
    world_of.save(world)
    return nil, 200
end

return M
