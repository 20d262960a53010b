-- The building blocks that strategies are made of, for one deploy.
local api = require "dgrun.fly.api"
local apply = require "dgrun.fly.apply"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local gate = require "dgrun.fly.gate"
local machines = require "dgrun.fly.machines"
local task = require "dgrun.core.task"

local M = {}

local GRACE_SECONDS = 10

---Out of traffic first, so that no request is cut; then stopped, then destroyed. Only what keeps
---the old machines from going is an error.
local function retire(deploy, change, nonce)
    local id = change.machine.id
    apply.destroy(deploy, change, nonce(), function()
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
function M.of(deploy, updates, nonces)
    local function nonce(change) return nonces[change.machine.id] end
    table.sort(updates, function(a, b) return a.machine.id < b.machine.id end)
    return {
        app = deploy.app, updates = updates, planning = deploy.plan,
        already = deploy.already or 0,
        max_unavailable = deploy.max_unavailable, on_failure = deploy.on_failure,
        update = function(change) return apply.update(deploy, change, nonce(change), true) end,
        update_only = function(change)
            return apply.update(deploy, change, nonce(change), false)
        end,
        restore = function(change) return apply.restore(deploy, change, nonce(change)) end,
        create = function(opts)
            opts.region = deploy.config.primary_region
            return apply.create_beside(deploy, opts)
        end,
        gate = gate.of(deploy),
        starts = function(change) return apply.starts(change.machine, change.config) end,
        wait_good = function(machine, group)
            if not deploy.plan then
                apply.wait_good(deploy, group, machine)
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
