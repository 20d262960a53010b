-- The record of a release around a deploy: made, running, then complete or failed.
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local gate = require "dgrun.fly.gate"
local health = require "dgrun.fly.health"
local image_of = require "dgrun.core.image_ref"
local journal = require "dgrun.run.journal"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local process = require "dgrun.core.process"
local releases = require "dgrun.fly.releases"
local run = require "dgrun.run.context"
local store_of = require "dgrun.run.store"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"

local M = {}

---What a rollback needs to know later stands with the release, under a key that flyctl ignores.
local function definition_of(deploy)
    local definition = tables.copy(deploy.config.definition)
    local current = run.current()
    if current or deploy.commit or deploy.heads then
        local array = json.array
        definition.dgrun = {
            run = current and current.id, commit = deploy.commit,
            heads = deploy.heads and array(deploy.heads) or nil,
            database = deploy.database_heads and array(deploy.database_heads) or nil,
        }
    end
    return definition
end

---Has the run ended that began a release, without telling its end?
local function is_abandoned(id)
    local store = run.current() and store_of.current()
    local row = store and journal.run(store, id)
    return row ~= nil and process.ended(row) == true
end

---A release that was begun and not ended. One of this very run, by an attempt that was killed, goes
---on; that of another run that is gone is told to be interrupted.
---@param newest? table the newest release of the app
---@return {id: string, version: integer}?
local function begun_release(deploy, newest)
    if deploy.plan or not newest or not newest.in_progress then
        return nil
    end
    local definition = releases.history(deploy.app, 1)[1].configDefinition or {}
    local id = type(definition.dgrun) == "table" and definition.dgrun.run
    local current = run.current()
    if id and current and id == current.id and newest.image_ref == image_of.tagged(deploy.image)
    then
        effect.note(("this run began release v%d; continuing it"):format(newest.version))
        return { id = newest.id, version = newest.version }
    elseif id and (id == (current and current.id) or is_abandoned(id)) then
        releases.set_status(newest.id, "interrupted")
    end
end

local function new_release(deploy)
    return effect.write {
        kind = "fly.release.create", target = deploy.app, after = { image = deploy.image,
            strategy = deploy.strategy_name },
        summary = ("create a release of %s"):format(deploy.app), name = "release",
        apply = function()
            local release = releases.create(deploy.app, { image = image_of.tagged(deploy.image),
                definition = definition_of(deploy), strategy = deploy.strategy_name })
            releases.set_status(release.id, "running")
            return { id = release.id, version = release.version }
        end,
    }
end

---The answer to a change of the status may have been lost.
local function has_status(deploy, status)
    local ok, newest = pcall(task.shield, releases.list, deploy.app, 1)
    return ok and newest[1] and newest[1].id == deploy.release.id and newest[1].status == status
end

---The release record around the work: running, then complete or failed.
---@param deploy table of deploy.lua; gets `release`
---@param carry_out fun()
function M.around(deploy, carry_out)
    local newest = releases.list(deploy.app, 1)[1]
    deploy.follows_unfinished = newest ~= nil and newest.status ~= "complete"
    deploy.release = begun_release(deploy, newest)
    if deploy.release then
        releases.set_status(deploy.release.id, "running")
    else
        deploy.release = new_release(deploy)
    end
    local ok, e = pcall(carry_out)
    if not deploy.plan then
        local status = ok and "complete" or (err.is(e, "cancelled") and "interrupted" or "failed")
        -- A final status that cannot be written does not undo what was deployed.
        local noted = pcall(task.shield, releases.set_status, deploy.release.id,
            status, not ok and tostring(err.object(e).msg) or nil)
        if not noted and not has_status(deploy, status) then
            effect.note("could not write the release's final status")
        end
    end
    if not ok then
        e = err.object(e)
        e.release = not deploy.plan and deploy.release.version or nil
        err.raise(e)
    end
end

local MARKED_AT_ONCE = 8

---Notes the release on machines that a deploy left as they are, so that all machines name the same
---one: after a deploy that was killed, some machines name its release and others the previous one.
---The machines keep their versions. After a deploy that came to its end this is not wanted: the
---release that a machine names tells which secrets it has.
---@param deploy table of deploy.lua, with `release`
---@param list table[] the machines
function M.mark(deploy, list)
    local others = {}
    for _, machine in ipairs(list) do
        local metadata = machine.config.metadata or {}
        others[#others + 1] = metadata.fly_release_id ~= deploy.release.id and machine or nil
    end
    if #others == 0 then
        return
    end
    effect.write {
        kind = "fly.machine.metadata", target = deploy.app,
        summary = ("note the release on %s"):format(
            format.count(#others, "unchanged machine")),
        apply = function()
            local metadata = releases.note({}, deploy.release)
            task.map(others, { limit = MARKED_AT_ONCE }, function(machine)
                -- The id last: a machine that has it has all.
                for _, key in ipairs { "fly_release_version", "dgrun_release", "fly_release_id" } do
                    machines.set_metadata(deploy.app, machine.id, key, metadata[key])
                end
            end)
            return { machines = #others }
        end,
    }
end

---Waits for the machines of a deploy that nobody saw become good.
local function check_health(deploy, list)
    if not deploy.plan and deploy.waits then
        task.map(list, {}, function(machine)
            if machine.state == "started" or machine.state == "starting" then
                health.wait(deploy.app, machine, deploy.wait_timeout)
            end
        end)
    end
end

---The gate of a deploy that nobody asked at its end.
local function ask_gate(deploy, release)
    local ok, e = pcall(gate.of(deploy))
    if not ok and release.in_progress and not err.is(e, "cancelled") then
        pcall(task.shield, releases.set_status, release.id, "failed", tostring(err.object(e).msg))
    end
    if not ok then
        error(e, 0)
    end
end

---All machines are as wanted, but the deploy that made them so did not come to its end: it was
---killed, or failed on something that is over now. When they are good, by its gate too, their
---release is complete.
---@param deploy table of deploy.lua
---@param list table[] the machines
function M.settle(deploy, list)
    local newest = releases.list(deploy.app, 1)[1]
    if not newest or newest.status == "complete"
        or newest.image_ref ~= image_of.tagged(deploy.image) then
        return
    end
    check_health(deploy, list)
    ask_gate(deploy, newest)
    if newest.in_progress then
        deploy.release = { id = newest.id, version = newest.version }
        M.mark(deploy, list)
        return effect.write {
            kind = "fly.release.update", target = deploy.app,
            before = { status = newest.status }, after = { status = "complete" },
            summary = ("mark release v%d of %s complete"):format(newest.version, deploy.app),
            apply = function() releases.set_status(newest.id, "complete") end,
        }
    end
    deploy.release = new_release(deploy)
    M.mark(deploy, list)
    if not deploy.plan then
        releases.set_status(deploy.release.id, "complete")
    end
end

return M
