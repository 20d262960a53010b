-- How a deploy goes through the machines. A strategy is a function over the building blocks of a
-- deploy, so that a team can write its own. Rules: docs/fly/deploy.md, sections 10 and 12.
--
-- What is left when one fails: rolling, the failed machine as it is, those before it on the new
-- version, the rest on the old one; with on_failure = "rollback" all on the old one. canary, all on
-- the old one, the canary destroyed. bluegreen, all on the old one, the green ones destroyed; when
-- only a blue one could not be removed, the green ones stay, and the next deploy removes it.
-- The same when the gate says bad: the old ones of bluegreen are still there then.
-- immediate, every machine with the new version, whatever became of it, but for those that Fly did
-- not let be updated.
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local image_of = require "dgrun.core.image_ref"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@class dgrun.fly.deploy.blocks
---@field app string
---@field updates dgrun.fly.change[] sorted by machine id
---@field already integer how many machines were on the new version before, and are not in `updates`
---@field max_unavailable number below 1 a fraction, else a count
---@field on_failure "stop"|"rollback"
---@field planning boolean nothing is there to be waited for
---@field update fun(change: dgrun.fly.change): {id: string} updates one machine and waits until it
---  is good
---@field update_only fun(change: dgrun.fly.change) does not wait
---@field restore fun(change: dgrun.fly.change) back to what the machine had
---@field create fun(opts: table): table a machine beside the others: {group, what, config, hidden,
---  stopped, region}; in the primary region when none is given
---@field wait_good fun(machine: table, group: string) started, not crashing, all checks passing
---@field gate fun(machine?: dgrun.fly.gate.machine) asks the deploy's gate, where there is one;
---  raises when it says bad. Without a machine: all are updated
---@field starts fun(change: dgrun.fly.change): boolean does it run after its update?
---@field check_bluegreen fun() raises when Fly does not let the app be deployed so
---@field mark fun(change: dgrun.fly.change, name: string, value: string) metadata of its machine
---@field uncordon fun(machine: table)
---@field retire fun(change: dgrun.fly.change) takes a machine out of traffic, stops, destroys it
---@field remove fun(machine: table, what: string) destroys a machine that create made
---@field sleep fun(seconds: number) a local machine takes less

local function by_group(updates)
    local groups, names = {}, {}
    for _, change in ipairs(updates) do
        if not groups[change.group] then
            groups[change.group] = {}
            names[#names + 1] = change.group
        end
        table.insert(groups[change.group], change)
    end
    return groups, names
end

---The first one alone; only if it is good the rest, at most `pool` at a time.
local function first_then_rest(list, pool, update)
    if #list == 0 then
        return
    end
    update(list[1])
    task.map({ unpack(list, 2) }, { limit = pool }, update)
end

local function pool_size(max_unavailable, count)
    if max_unavailable >= 1 then
        return math.floor(max_unavailable)
    end
    return math.max(1, math.ceil(count * max_unavailable))
end

---Asks the gate about a machine that runs now.
local function ask_gate(deploy, machine, group)
    deploy.gate { app = deploy.app, id = tostring(machine.id), group = group,
        region = tostring(machine.region) }
end

local function roll(deploy, update)
    local groups, names = by_group(deploy.updates)
    local jobs = {}
    for _, name in ipairs(names) do
        local cold, warm = {}, {}
        for _, change in ipairs(groups[name]) do
            table.insert(change.machine.state == "started" and warm or cold, change)
        end
        jobs[#jobs + 1] = function() first_then_rest(cold, math.min(30, #cold), update) end
        jobs[#jobs + 1] = function()
            first_then_rest(warm, pool_size(deploy.max_unavailable, #warm), update)
        end
    end
    task.all(jobs)
end

---Brings back what was begun, and raises what went wrong first.
local function roll_back(deploy, begun, failure)
    local failed = {}
    for _, change in ipairs(begun) do
        local ok = pcall(deploy.restore, change)
        if not ok then
            failed[#failed + 1] = change.machine.id
        end
    end
    failure = err.object(failure)
    failure.rolled_back = #begun - #failed
    failure.hint = #failed == 0
        and format.count(#begun, "machine was", "machines were")
            .. " restored to the previous image and configuration."
        or ("Not rolled back: %s. Deploy the old image again."):format(table.concat(failed, ", "))
    if deploy.already > 0 then
        failure.hint = ("%s %d already had the new version and keep it: deploy the old image "
            .. "again.")
            :format(failure.hint, deploy.already)
    end
    err.raise(failure)
end

---One after the other in each group, or as many as max_unavailable lets.
---@param deploy dgrun.fly.deploy.blocks
function M.rolling(deploy)
    local begun = {}
    local ok, e = pcall(function()
        roll(deploy, function(change)
            begun[#begun + 1] = change
            local updated = deploy.update(change)
            if deploy.starts(change) then
                ask_gate(deploy, { id = updated.id, region = change.machine.region }, change.group)
            end
        end)
        deploy.gate()
    end)
    if not ok and deploy.on_failure == "rollback" and not err.is(e, "cancelled") then
        roll_back(deploy, begun, e)
    elseif not ok then
        err.raise(e)
    end
end

---All at once, without waiting for any; one that cannot be updated does not keep the others.
---@param deploy dgrun.fly.deploy.blocks
function M.immediate(deploy)
    local first
    task.map(deploy.updates, { limit = 8 }, function(change)
        local ok, e = pcall(deploy.update_only, change)
        if not ok and err.is(e, "cancelled") then
            err.raise(e)
        end
        first = first or (not ok and e) or nil
    end)
    if first then
        err.raise(first)
    end
    deploy.gate()
end

local function copy_for(change, metadata)
    local config = tables.copy(change.config)
    for name, value in pairs(metadata) do
        config.metadata[name] = value
    end
    return config
end

---One machine more for each group on the new version; if it is good, rolling.
---@param deploy dgrun.fly.deploy.blocks
function M.canary(deploy)
    local groups, names = by_group(deploy.updates)
    task.map(names, {}, function(name)
        local config = copy_for(groups[name][1], { fly_canary = "true" })
        config.dns, config.standbys = { skip_registration = true }, nil
        local machine = deploy.create { group = name, what = "canary", config = config }
        local ok, e = pcall(function()
            deploy.wait_good(machine, name)
            ask_gate(deploy, machine, name)
        end)
        task.shield(deploy.remove, machine, "canary")
        if not ok then
            err.raise(e)
        end
    end)
    M.rolling(deploy)
end

local function check_same_image(deploy)
    local first
    for _, change in ipairs(deploy.updates) do
        local ref = change.machine.image_ref
        local unreachable = change.machine.host_status and change.machine.host_status ~= "ok"
        local image = ref and not unreachable and image_of.format { registry = ref.registry,
            repository = ref.repository, tag = ref.tag } or first
        first = first or image
        if image ~= first then
            err.raise { code = "fly.mixed_images", op = "fly.deploy",
                msg = ("bluegreen needs the same image on all machines, but they run %s and "
                    .. "%s"):format(
                    first, image),
                hint = "Deploy once with the strategy rolling." }
        end
    end
end

local function has_checks(config)
    local checks = config.checks and next(config.checks)
    for _, service in ipairs(config.services or {}) do
        checks = checks or (service.checks and service.checks[1])
    end
    return checks ~= nil
end

local function check_bluegreen(deploy)
    if #deploy.updates == 0 then
        return
    end
    deploy.check_bluegreen()
    check_same_image(deploy)
    for _, change in ipairs(deploy.updates) do
        if has_checks(change.config) then
            return
        end
    end
    err.raise { code = "fly.no_checks", op = "fly.deploy",
        msg = "bluegreen needs checks: they show when the green machines are healthy",
        hint = "Add checks to the configuration, or deploy with the strategy rolling." }
end

---Which green machines are started: as their blue ones, and one of each group with checks.
local function launched(deploy)
    local starts, group_starts, updates = {}, {}, deploy.updates
    for i, change in ipairs(updates) do
        starts[i] = deploy.starts(change)
        group_starts[change.group] = group_starts[change.group] or starts[i]
    end
    for i, change in ipairs(updates) do
        if not group_starts[change.group] and has_checks(change.config) then
            starts[i], group_starts[change.group] = true, true
        end
    end
    return starts
end

---A green machine for each blue one, hidden; when all are good they take the traffic and the blue
---ones go.
---@param deploy dgrun.fly.deploy.blocks
function M.bluegreen(deploy)
    check_bluegreen(deploy)
    local tag = ("%d"):format(time.wall())
    local starts, greens = launched(deploy), {}
    local ok, e = pcall(function()
        task.map(deploy.updates, { limit = 8 }, function(change, i)
            greens[i] = deploy.create { group = change.group, what = "green", hidden = true,
                stopped = not starts[i], region = change.machine.region,
                config = copy_for(change, { fly_bluegreen_deployment_tag = tag,
                    dgrun_replaces = change.machine.id }) }
        end)
        task.map(greens, {}, function(machine, i)
            if starts[i] then
                deploy.wait_good(machine, deploy.updates[i].group)
            end
        end)
        task.map(greens, {}, deploy.uncordon)
        deploy.gate()
    end)
    if not ok then
        task.shield(function()
            for _, machine in pairs(greens) do
                deploy.remove(machine, "green")
            end
        end)
        err.raise(e)
    end
    -- From here on the green ones stay, whatever happens.
    task.map(deploy.updates, { limit = 8 }, function(change)
        deploy.mark(change, "fly_bluegreen_deployment_tag", "safe_to_destroy")
    end)
    task.map(deploy.updates, { limit = 8 }, deploy.retire)
end

return M
