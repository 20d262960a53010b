-- Volumes of machines: which one a new machine gets, and what a deploy may change about a mount.
-- Rules: docs/fly/deploy.md, sections 5, 7.1 and 8.
local api = require "dgrun.fly.api"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local machine_config_of = require "dgrun.fly.machine_config"
local tables = require "dgrun.core.table"
local units = require "dgrun.fly.units"

local M = {}

local leaving = { scheduling_destroy = true, fork_cleanup = true, waiting_for_detach = true,
    pending_destroy = true, destroying = true, destroyed = true }

local function path(app)
    return api.path("/v1/apps/%s/volumes", app)
end

---@param app string
---@return table[]
function M.list(app)
    local volumes = {}
    for _, volume in ipairs(api.machines("GET", path(app))) do
        if not leaving[volume.state] then
            volumes[#volumes + 1] = volume
        end
    end
    return volumes
end

local function is_free(volume)
    local machine = volume.attached_machine_id
    return machine == nil or machine == "" or machine == json.null
end

---Free volumes, each given out once.
---@param app string
---@return {take: fun(name: string, region?: string): table?}
function M.pool(app)
    local pool
    return {
        take = function(name, region)
            pool = pool or M.pool_of(M.list(app))
            return pool.take(name, region)
        end,
    }
end

---@param free table[] volumes
---@return {take: fun(name: string, region?: string): table?}
function M.pool_of(free)
    return {
        take = function(name, region)
            for i, volume in ipairs(free) do
                if volume.name == name and is_free(volume)
                    and (not region or volume.region == region) then
                    return table.remove(free, i)
                end
            end
        end,
    }
end

local function refuse(code, text, hint)
    err.raise { code = code, op = "fly.deploy", msg = text, hint = hint }
end

local function destroy_command(machine)
    return api.command(("machines destroy ENV %s --force"):format(machine.id))
end

---The mounts of an update: a volume stays where it is; another one, or none, is not for a deploy
---to decide.
---@param wanted table[]? of the new configuration
---@param machine table as it is
---@return table[]?
function M.kept(wanted, machine)
    local now = machine.config.mounts and machine.config.mounts[1]
    local new = wanted and wanted[1]
    if not now and not new then
        return nil
    elseif not new then
        refuse("fly.volume_removed", ("machine %s has the volume %s, but the configuration no "
            .. "longer has a mount"):format(machine.id, tostring(now.volume)),
            ("The app would lose its data. If that is intended, destroy the machine first: "
                .. "%s"):format(destroy_command(machine)))
    elseif not now then
        refuse("fly.volume_added", ("machine %s has no volume, but the configuration mounts "
            .. "'%s'"):format(machine.id, tostring(new.name)),
            ("A machine cannot get a volume later. Destroy it, and the deploy creates another: "
                .. "%s"):format(destroy_command(machine)))
    elseif now.name and now.name ~= new.name then
        refuse("fly.volume_renamed", ("machine %s has the volume '%s', but the configuration "
            .. "mounts '%s'"):format(machine.id, now.name, new.name),
            "Mount the existing volume, or destroy the machine first.")
    end
    if not now.name then
        return { now }
    end
    local mount = tables.merged(now)
    for _, name in ipairs { "path", "extend_threshold_percent", "add_size_gb", "size_gb_limit" } do
        mount[name] = new[name]
    end
    return { mount }
end

---What the configuration says of a volume that a group mounts.
local function entry_of(config, group, mount)
    for _, entry in ipairs(config.mounts) do
        if entry.source == mount.name and machine_config_of.belongs(config, entry, group) then
            return entry
        end
    end
    return {}
end

---Creates the volumes that the groups of a first deploy mount and that are not there.
---@param deploy table of deploy.lua
---@param creates dgrun.fly.change[]
function M.provision(deploy, creates)
    local pool = M.pool(deploy.app)
    for _, change in ipairs(creates) do
        local mount = change.config.mounts and change.config.mounts[1]
        if mount and not pool.take(mount.name, deploy.config.primary_region) then
            local entry = entry_of(deploy.config, change.group, mount)
            local size = units.gigabytes(entry.initial_size or "") or 1
            local wanted = { name = mount.name, size_gb = size,
                region = deploy.config.primary_region, encrypted = true,
                snapshot_retention = entry.snapshot_retention,
                auto_backup_enabled = entry.scheduled_snapshots }
            effect.write {
                kind = "fly.volume.create", target = deploy.app, name = "volume",
                summary = ("create the volume %s, %d GB, for %s"):format(mount.name, size,
                    deploy.app),
                after = wanted,
                apply = function()
                    return { id = api.machines("POST", path(deploy.app), { json = wanted }).id }
                end,
            }
        end
    end
end

---Fills the volume of a new machine in.
---@param config table of the machine
---@param pool table of `pool`
---@param region? string
function M.attach(config, pool, region)
    local mount = config.mounts and config.mounts[1]
    if not mount then
        return
    end
    local volume = pool.take(mount.name, region)
    if not volume then
        refuse("fly.no_volume", ("no free volume '%s'%s"):format(mount.name,
            region and " in " .. region or ""),
            api.is_sandbox() and "Give the group fewer machines, or create it with a POST to the "
                .. "volumes of the app (dg.fly.api.machines)."
                or ("Create it: fly volumes create %s%s"):format(mount.name,
                    region and " -r " .. region or ""))
    end
    mount.volume = volume.id
end

return M
