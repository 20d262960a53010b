-- One machine of a deploy: created, updated or destroyed, each an effect; and the steps that
-- strategies are made of, for one deploy.
local api = require "dgrun.fly.api"
local changes_of = require "dgrun.fly.diff"
local deploy_commands = require "dgrun.fly.deploy_commands"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local gate = require "dgrun.fly.gate"
local health = require "dgrun.fly.health"
local image_of = require "dgrun.core.image_ref"
local machines = require "dgrun.fly.machines"
local releases = require "dgrun.fly.releases"
local run = require "dgrun.run.context"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"
local version = require "dgrun.core.version"
local volumes = require "dgrun.fly.volumes"

local M = {}

local function with_release(deploy, config)
    if deploy.release then
        releases.note(config.metadata, deploy.release)
    end
    local current = run.current()
    config.metadata.dgrun_run = current and current.id
    config.metadata.fly_flyctl_version = "dgrun " .. version
    config.image = image_of.tagged(config.image)
    return config
end

local comes_up = { started = true, starting = true, failed = true }

---Does a machine start after its update? A standby that took over stays up: docs/fly/deploy.md,
---section 8, skip_launch.
---@return boolean
local function starts(machine)
    return comes_up[machine.state] == true
end

---Does its deploy start a machine that crashed until Fly gave up? An update would leave it stopped.
local function is_revived(machine, config)
    return machines.has_given_up(machine) and #(config.standbys or {}) == 0
end

---Until a machine is good, by all that is known of its group.
local function wait_good(deploy, group, machine)
    health.wait(deploy.app, machine, deploy.wait_timeout)
    deploy_commands.check(deploy, group, machine)
    deploy.warn_listen(group, machine)
end

---What Fly is asked for a machine that is created or updated.
---@param deploy table of deploy.lua
---@param change dgrun.fly.change
---@param standby_of? string machine id
---@return table
function M.request(deploy, change, standby_of)
    local config, machine = with_release(deploy, change.config), change.machine
    if change.standby then
        config.standbys = { standby_of }
        config.env.FLY_STANDBY_FOR = standby_of
    end
    if not machine then
        volumes.attach(config, deploy.volumes, deploy.config.primary_region)
    end
    local skip = change.standby
    if machine then
        skip = not starts(machine)
    end
    return { region = machine and machine.region or deploy.config.primary_region,
        config = config, skip_launch = skip, min_secrets_version = deploy.secrets_version }
end

---@param deploy table of deploy.lua
---@param change dgrun.fly.change
---@param standby_of? string machine id
---@return {id: string}
function M.create(deploy, change, standby_of)
    return effect.write {
        kind = "fly.machine.create", target = deploy.app,
        summary = ("create a machine of group %s%s"):format(change.group,
            change.standby and " (standby)" or ""),
        after = changes_of.readable(change.config, deploy.image), name = "machine",
        apply = function()
            local machine = machines.create(deploy.app, M.request(deploy, change, standby_of))
            if not change.standby and deploy.waits then
                health.wait(deploy.app, machine, deploy.wait_timeout)
                deploy.warn_listen(change.group, machine)
            end
            return { id = machine.id }
        end,
    }
end

---A machine beside those that are there: a canary, a green one. Not waited for.
---@param opts {group: string, what: string, config: table, region: string, hidden?: boolean,
---  stopped?: boolean} `what` names it; a hidden one takes no traffic until it is uncordoned
---@return table machine as the API answers; in a plan an unknown value
local function create_beside(deploy, opts)
    return effect.write {
        kind = "fly.machine.create", target = deploy.app, name = "machine",
        summary = ("create a %s machine of group %s"):format(opts.what, opts.group),
        after = changes_of.readable(opts.config, deploy.image),
        apply = function()
            return machines.create(deploy.app, {
                region = opts.region, config = with_release(deploy, opts.config),
                skip_service_registration = opts.hidden, skip_launch = opts.stopped,
                min_secrets_version = deploy.secrets_version,
            })
        end,
    }
end

---Back to the configuration and image that the machine had before the deploy.
---@param nonce? string of the machine's lease
local function restore(deploy, change, nonce)
    local machine = change.machine
    effect.write {
        kind = "fly.machine.update", target = deploy.app .. "/" .. machine.id,
        summary = ("roll machine %s of group %s back"):format(machine.id, change.group),
        before = changes_of.readable(change.config, deploy.image),
        after = changes_of.readable(machine.config, image_of.of_machine(machine)),
        apply = function()
            -- It may still be on its way to the new version; Fly refuses another meanwhile.
            machines.wait(deploy.app, machine.id,
                { state = "settled", seconds = deploy.wait_timeout })
            local now = machines.get(deploy.app, machine.id)
            if now and now.instance_id == machine.instance_id then
                return
            end
            local launch = starts(machine)
            local config = tables.copy(machine.config)
            -- By digest: the tag may have moved since.
            config.image = image_of.of_machine(machine)
            local restored = machines.update(deploy.app, machine.id, { region = machine.region,
                config = config, skip_launch = not launch,
                min_secrets_version = deploy.secrets_version }, nonce)
            if launch then
                health.wait(deploy.app, restored, deploy.wait_timeout)
            end
        end,
    }
end

---@param nonce? string of the machine's lease
---@param before? fun() what is done to the machine first
function M.destroy(deploy, change, nonce, before)
    effect.write {
        kind = "fly.machine.destroy", target = deploy.app .. "/" .. change.machine.id,
        summary = ("destroy machine %s of group %s"):format(change.machine.id, change.group),
        before = changes_of.readable(change.machine.config),
        apply = function()
            if before then
                before()
            end
            machines.destroy(deploy.app, change.machine.id, nonce)
        end,
    }
end

---Another machine in the place of one whose host cannot carry it any more.
local function replace(deploy, change, nonce)
    local machine, request = change.machine, M.request(deploy, change)
    effect.note(("machine %s cannot be updated in place and is replaced"):format(
        machine.id))
    machines.destroy(deploy.app, machine.id, nonce)
    return machines.create(deploy.app, request)
end

---A machine moves to another host without its volume, which a deploy does not decide.
---@param change dgrun.fly.change
function M.check_move(change)
    local machine, mount = change.machine, (change.machine.config.mounts or {})[1]
    if not change.moves or not mount then
        return
    elseif machine.host_status ~= "ok" then
        err.raise { code = "fly.volume_unreachable", op = "fly.deploy", machine = machine.id,
            msg = ("machine %s cannot be replaced: its volume %s is on a host that Fly cannot "
                .. "reach"):format(machine.id, tostring(mount.volume)),
            hint = "Wait for the host, or restore a snapshot of the volume and destroy the "
                .. "machine." }
    end
    err.raise { code = "fly.volume_elsewhere", op = "fly.deploy", machine = machine.id,
        msg = ("machine %s cannot move to the dedicated host %s: its volume %s stays where it is")
            :format(machine.id, change.config.guest.host_dedication_id, tostring(mount.volume)),
        hint = "Fork the volume to the dedicated host first: fly volumes fork "
            .. "--host-dedication-id …" }
end

local function update_or_replace(deploy, change, nonce)
    local machine = change.machine
    local has_volume = #(machine.config.mounts or {}) > 0
    M.check_move(change)
    if change.moves then
        return replace(deploy, change, nonce)
    end
    local ok, result = pcall(machines.update, deploy.app, machine.id, M.request(deploy, change),
        nonce)
    if not ok and err.is(result, "fly.capacity") and not has_volume then
        return replace(deploy, change, nonce)
    elseif not ok then
        err.raise(result)
    end
    return result
end

---@param nonce? string of the machine's lease
---@param waits boolean until it is good
local function update(deploy, change, nonce, waits)
    local machine = change.machine
    return effect.write {
        kind = "fly.machine.update", target = deploy.app .. "/" .. machine.id,
        summary = ("update machine %s of group %s"):format(machine.id, change.group),
        before = changes_of.readable(machine.config, image_of.of_machine(machine)),
        after = changes_of.readable(change.config, deploy.image),
        apply = function()
            local launch = starts(machine)
            local updated = update_or_replace(deploy, change, nonce)
            if is_revived(machine, change.config) then
                machines.wait(deploy.app, updated.id, { state = "stopped",
                    seconds = deploy.wait_timeout, instance_id = updated.instance_id })
                machines.start(deploy.app, updated.id, nonce, { fresh = true })
                launch = true
            end
            if launch and waits then
                wait_good(deploy, change.group, updated)
            end
            return { id = updated.id, instance_id = updated.instance_id }
        end,
    }
end

---Does a machine that is as wanted need `keep`?
---@return boolean
function M.is_crashed(machine)
    return is_revived(machine, machine.config) or machines.is_crashing(machine)
end

---A machine that is as wanted, but crashed: it is started, and must stay up.
---@param deploy table of deploy.lua
---@param nonce? string of the machine's lease
function M.keep(deploy, machine, nonce)
    if machines.has_given_up(machine) then
        effect.write {
            kind = "fly.machine.start", target = deploy.app .. "/" .. machine.id,
            summary = ("start machine %s of group %s, which crashed"):format(machine.id,
                machines.group(machine)),
            before = { state = machine.state }, after = { state = "started" },
            apply = function()
                machines.start(deploy.app, machine.id, nonce)
                if deploy.waits then
                    health.wait(deploy.app, machine, deploy.wait_timeout)
                end
            end,
        }
    elseif deploy.waits and not deploy.plan then
        health.wait(deploy.app, machine, deploy.wait_timeout, health.smoke_seconds)
    end
end

-- The building blocks that strategies are made of.

local GRACE_SECONDS = 10

---Out of traffic first, so that no request is cut; then stopped, then destroyed. Only what keeps
---the old machines from going is an error.
local function retire(deploy, change, nonce)
    local id = change.machine.id
    M.destroy(deploy, change, nonce(), function()
        task.sleep(api.pace(GRACE_SECONDS))
        pcall(machines.cordon, deploy.app, id, nonce())
        task.sleep(api.pace(GRACE_SECONDS))
        local stopped = change.machine.state == "started"
            and pcall(machines.stop, deploy.app, id, nonce())
        if stopped then
            pcall(machines.wait, deploy.app, id,
                { state = "stopped", seconds = deploy.wait_timeout })
        end
    end)
end

---May the app's organisation have twice as many machines for a while?
local function check_bluegreen(deploy)
    local data = api.graphql("query($name: String!) { canPerformBluegreenDeployment(name: $name) }",
        { name = deploy.app })
    if data.canPerformBluegreenDeployment ~= true then
        err.raise { code = "fly.bluegreen_refused", op = "fly.deploy",
            msg = ("Fly does not allow a bluegreen deploy of %s now: its organization's machines "
                .. "are "
                .. "limited"):format(deploy.app),
            hint = "Deploy with the strategy rolling." }
    end
end

local function remove(deploy, machine, what)
    effect.write {
        kind = "fly.machine.destroy", target = deploy.app, before = { what = what },
        summary = ("destroy the %s machine"):format(what),
        apply = function() machines.destroy(deploy.app, machine.id) end,
    }
end

---@param deploy table of deploy.lua
---@param updates dgrun.fly.change[]
---@param nonces table<string, string> leases by machine id
---@return dgrun.fly.deploy.blocks
function M.steps(deploy, updates, nonces)
    local function nonce(change) return nonces[change.machine.id] end
    table.sort(updates, function(a, b) return a.machine.id < b.machine.id end)
    return {
        app = deploy.app, updates = updates, planning = deploy.plan,
        already = deploy.already or 0,
        max_unavailable = deploy.max_unavailable, on_failure = deploy.on_failure,
        update = function(change) return update(deploy, change, nonce(change), true) end,
        update_only = function(change)
            return update(deploy, change, nonce(change), false)
        end,
        restore = function(change) return restore(deploy, change, nonce(change)) end,
        create = function(opts)
            opts.region = opts.region or deploy.config.primary_region
            return create_beside(deploy, opts)
        end,
        gate = gate.of(deploy),
        starts = function(change)
            return starts(change.machine) or is_revived(change.machine, change.config)
        end,
        wait_good = function(machine, group)
            if not deploy.plan then
                wait_good(deploy, group, machine)
            end
        end,
        check_bluegreen = function() check_bluegreen(deploy) end,
        mark = function(change, name, value)
            if not deploy.plan then
                pcall(machines.set_metadata, deploy.app, change.machine.id, name, value,
                    nonce(change))
            end
        end,
        uncordon = function(machine)
            if not deploy.plan then
                machines.uncordon(deploy.app, machine.id)
            end
        end,
        retire = function(change)
            return retire(deploy, change, function() return nonce(change) end)
        end,
        remove = function(machine, what) return remove(deploy, machine, what) end,
        sleep = function(seconds)
            if not deploy.plan then
                task.sleep(api.pace(seconds))
            end
        end,
    }
end

return M
