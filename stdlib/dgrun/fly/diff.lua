-- What a deploy would change: each machine of the app against what the configuration wants.
local commits = require "dgrun.fly.commit"
local config_of = require "dgrun.fly.config"
local image_of = require "dgrun.core.image_ref"
local machine_config_of = require "dgrun.fly.machine_config"
local machines = require "dgrun.fly.machines"
local tables = require "dgrun.core.table"
local volumes = require "dgrun.fly.volumes"

local M = {}

---Metadata that differs from deploy to deploy without meaning a change; and what a standby has in
---its environment until its first update: flyctl does not repeat it.
local passing = { FLY_STANDBY_FOR = true, fly_release_id = true, fly_release_version = true,
    fly_flyctl_version = true, fly_builder_id = true, dgrun_run = true, dgrun_release = true,
    dgrun_launch = true, dgrun_replaces = true }

local null = require("dgrun.core.json").null

---Is everything that is wanted already so? What the platform added by itself does not matter,
---but env and metadata are compared whole.
local function holds(wanted, actual, exact)
    if type(wanted) ~= "table" then
        return wanted == actual or (wanted == null and actual == nil)
    elseif type(actual) ~= "table" then
        return next(wanted) == nil and actual == nil
    elseif #wanted ~= #actual then
        return false
    end
    for name, value in pairs(wanted) do
        if not (exact and passing[name]) and not holds(value, actual[name], false) then
            return false
        end
    end
    if exact then
        for name in pairs(actual) do
            if wanted[name] == nil and not passing[name] then
                return false
            end
        end
    end
    return true
end

local rebuilt = { "services", "checks", "metrics", "statics", "stop_config", "restart", "schedule",
    "mounts", "files", "standbys" }

---What a machine runs; the rest of its init is kept when nothing is said of it.
local commands = { "exec", "entrypoint", "cmd", "swap_size_mb" }

local function is_empty(value)
    return value == nil or value == null or (type(value) == "table" and not next(value))
end

local function differs(wanted, actual)
    if is_empty(wanted) then
        return not is_empty(actual)
    end
    return not holds(wanted, actual, false)
end

local function init_differs(wanted, actual)
    actual = type(actual) == "table" and actual or {}
    for _, name in ipairs(commands) do
        if differs(wanted[name], actual[name]) then
            return true
        end
    end
    return not holds(wanted, actual, false)
end

---What of a machine is not as a configuration wants it.
---@param machine table
---@param wanted table configuration with `image`
---@return string[] names of the configuration's fields
function M.differing(machine, wanted)
    local actual, names = machine.config or {}, {}
    local function note(name, yes)
        names[#names + 1] = yes and name or nil
    end
    note("image", machine.image_ref ~= nil and not image_of.same(
        image_of.parse(wanted.image), image_of.parse(image_of.of_machine(machine))))
    note("init", init_differs(wanted.init or {}, actual.init))
    for _, name in ipairs { "env", "metadata" } do
        note(name, not holds(wanted[name] or {}, actual[name] or {}, true))
    end
    for _, name in ipairs(rebuilt) do
        note(name, differs(wanted[name], actual[name]))
    end
    note("guest", wanted.guest ~= nil and not holds(wanted.guest, actual.guest, false))
    return names
end

---Is a machine already what a configuration wants?
---@param machine table
---@param wanted table configuration with `image`
---@return boolean
function M.is_current(machine, wanted)
    return #M.differing(machine, wanted) == 0
end

---A configuration as people compare it: without what differs each time.
---@param config table
---@param image? string
function M.readable(config, image)
    local shown = tables.copy(config)
    shown.image = image or config.image
    for _, service in ipairs(type(shown.services) == "table" and shown.services or {}) do
        -- Sent as null, as flyctl does; that says nothing.
        service.force_instance_key = nil
    end
    if type(shown.init) == "table" and not next(shown.init) then
        shown.init = nil
    end
    for name in pairs(passing) do
        if shown.metadata then
            shown.metadata[name] = nil
        end
    end
    return shown
end

---@class dgrun.fly.change
---@field group string
---@field machine? table nil when it is created
---@field config? table the new configuration; nil when it is destroyed
---@field standby? boolean
---@field moves? boolean another machine takes its place
---@field beside? string id of the machine that it is the second to, when that is there already

---@class dgrun.fly.changes
---@field create dgrun.fly.change[]
---@field update dgrun.fly.change[]
---@field destroy dgrun.fly.change[]
---@field unchanged table[] machines

---Can a machine not stay on its host? Only the dedication of the whole app moves it.
local function moves(machine, dedication)
    local now = (machine.config.guest or {}).host_dedication_id
    return (machine.host_status ~= nil and machine.host_status ~= "ok")
        or (dedication ~= nil and dedication ~= now)
end

---Puts the guest of a machine on the hosts of the app.
local function dedicate(machine, dedication, moved)
    if dedication then
        local guest = machine.guest or {}
        machine.guest = guest
        guest.host_dedication_id = not moved and guest.host_dedication_id or dedication
    end
end

local function metadata_of(machine)
    return machine.config and machine.config.metadata or {}
end

---A blue machine whose green one serves already: a deploy was ended before it was gone.
local function was_replaced(machine)
    return metadata_of(machine).fly_bluegreen_deployment_tag == "safe_to_destroy"
end

---Machines that a deploy made beside the others, and that was killed before it took over from them
---or removed them: canaries, and green ones whose blue one is still there.
local function leftovers(all)
    local there, found = {}, {}
    for _, machine in ipairs(all) do
        there[machine.id] = machines.is_managed(machine) and not was_replaced(machine)
    end
    for _, machine in ipairs(all) do
        local metadata = metadata_of(machine)
        found[machine.id] = metadata.fly_canary == "true"
            or (metadata.dgrun_replaces ~= nil and there[metadata.dgrun_replaces])
    end
    return found
end

---Sorts a machine that stays by whether it is already as wanted.
local function compare(changes, group, machine, new, dedication)
    new.mounts = volumes.kept(new.mounts, machine)
    -- A machine that serves is nobody's standby.
    new.standbys = not new.services and new.standbys or nil
    local goes = moves(machine, dedication)
    dedicate(new, dedication, goes)
    local is_ours = not commits.is_foreign(metadata_of(machine))
    if M.is_current(machine, new) and not goes and is_ours then
        table.insert(changes.unchanged, machine)
    else
        table.insert(changes.update, { group = group, machine = machine, config = new,
            moves = goes })
    end
end

---@param config dgrun.fly.config
---`first` tells whether no deploy was ever completed: one that was cut short may have created a
---group's first machine and not its second.
---@param wanted {image: string, metadata: table, ha: boolean, first: fun(): boolean}
---@param all table[] the app's machines
---@return dgrun.fly.changes
function M.find(config, wanted, all)
    local changes = { create = {}, update = {}, destroy = {}, unchanged = {} }
    local groups, populated = {}, {}
    for _, group in ipairs(config_of.groups(config)) do
        groups[group] = true
    end
    local function configuration(group, existing)
        local machine = config_of.machine(config, group, existing)
        machine_config_of.set_image(config, machine, wanted.image)
        -- Of a deploy that does not say its commit nobody shall think that it is the one before.
        machine.metadata.dgrun_commit = nil
        machine.metadata["fly-managed-postgres"] = nil
        for name, value in pairs(wanted.metadata) do
            machine.metadata[name] = value
        end
        return machine
    end
    local left, default = leftovers(all), config_of.default_group(config)
    local dedication = config.host_dedication_id ~= "" and config.host_dedication_id or nil
    for _, machine in ipairs(all) do
        if machines.is_managed(machine) then
            local group = machines.group(machine, default)
            if not groups[group] or was_replaced(machine) or left[machine.id] then
                table.insert(changes.destroy, { group = group, machine = machine })
            else
                populated[group] = populated[group] or {}
                table.insert(populated[group], machine.id)
                compare(changes, group, machine, configuration(group, machine.config), dedication)
            end
        elseif machines.is_test(machine) then
            table.insert(changes.destroy, { group = machines.group(machine), machine = machine })
        end
    end
    for _, group in ipairs(config_of.groups(config)) do
        local there = populated[group] or {}
        if #there == 0 or (#there == 1 and wanted.ha and wanted.first()
                and not config_of.machine(config, group).mounts) then
            local new = configuration(group)
            new.guest = new.guest or { cpu_kind = "shared", cpus = 1, memory_mb = 256 }
            dedicate(new, dedication)
            if #there == 0 then
                table.insert(changes.create, { group = group, config = new })
            end
            if wanted.ha and not new.mounts then
                table.insert(changes.create, { group = group, config = tables.copy(new),
                    standby = not new.services, beside = there[1] })
            end
        end
    end
    return changes
end

return M
