-- Makes the cron machines of an app as they are declared.
local api = require "dgrun.fly.api"
local changes_of = require "dgrun.fly.diff"
local cron_machine = require "dgrun.cron.machine"
local diagnosis = require "dgrun.fly.diagnosis"
local drift = require "dgrun.cron.drift"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local image_of = require "dgrun.core.image_ref"
local inventory_of = require "dgrun.cron.inventory"
local job = require "dgrun.cron.job"
local machines = require "dgrun.fly.machines"
local secrets_state = require "dgrun.fly.secrets"
local spec = require "dgrun.cron.spec"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"
local ticks_of = require "dgrun.cron.job_runs"
local volumes = require "dgrun.fly.volumes"

local M = {}

---Ticks are waited for side by side.
local AT_ONCE = 8
local LAUNCH_SECONDS = 60
---How long the second chance waits for a tick, when nothing else is said.
local SETTLE_SECONDS = 600

---@class dgrun.cron.result
---@field name string
---@field id? string of the machine
---@field skipped? "tick"|"gate" why it is left as it is

---The configuration as it is sent, with the secrets' version of the moment.
local function body_of(inventory, view, more)
    local config = tables.copy(view.wanted)
    local body = { config = config, region = view.region or (view.machine and view.machine.region),
        min_secrets_version = secrets_state.wanted_version(inventory.app, inventory.secrets,
            config.metadata, view.machine) }
    for name, value in pairs(more or {}) do
        body[name] = value
    end
    return body
end

local function mounted(inventory, body)
    if body.config.mounts then
        volumes.attach(body.config, volumes.pool(inventory.app), body.region)
    end
    return body
end

---The machine of a deploy that has a cron machine's name; Fly lets no other have it.
local function name_holder(all, name)
    for _, machine in ipairs(all) do
        if machine.name == name and not machines.is_gone(machine) then
            return machine
        end
    end
end

local function refuse_taken_name(inventory, cron)
    local holder = name_holder(inventory.all, cron.name)
    if holder then
        err.raise { code = "cron.name_taken", op = "cron.sync", machine = holder.id,
            msg = ("%s cannot be created: machine %s of process group %s has this name"):format(
                cron.name, holder.id, machines.group(holder)),
            hint = "Give the cron machine another name in environments.yaml." }
    end
end

---A machine that was made a moment ago starts by itself.
local function await_launch(app, id)
    return machines.wait_once(app, id, { state = "started,stopped,failed",
        seconds = api.pace(LAUNCH_SECONDS) })
end

local function create(inventory, cron, view)
    if not job.may_create(inventory, cron, view) then
        return { skipped = "gate" }
    end
    refuse_taken_name(inventory, cron)
    return effect.write {
        kind = "fly.machine.create", target = inventory.app .. "/" .. cron.name, name = "machine",
        summary = ("create the cron machine %s, %s%s"):format(cron.name, cron.schedule,
            cron.when and effect.planning() and ", if its gate allows it" or ""),
        after = changes_of.readable(view.wanted),
        apply = function()
            local body = mounted(inventory, body_of(inventory, view, { name = cron.name }))
            local id = machines.create(inventory.app, body).id
            await_launch(inventory.app, id)
            return { id = id }
        end,
    }
end

local function needs_start(app, machine)
    if machine.state == "created" and not effect.planning() then
        await_launch(app, machine.id)
        machine = machines.get(app, machine.id) or machine
    end
    return machine.state == "failed"
        or (not ticks_of.runs(machine) and not machines.was_started(machine))
end

local function note_tick(cron, machine)
    if effect.planning() and ticks_of.runs(machine) then
        effect.note(("%s is running its job; the run would wait for it to end"):format(cron.name))
    end
end

---Can the machine not stay where it is?
local function moves(view)
    return drift.has(view.differences, "region") or drift.has(view.differences, "host")
end

local function refuse_volume(view, cron)
    if #(view.machine.config.mounts or {}) > 0 then
        err.raise { code = "cron.cannot_move", op = "cron.sync", machine = view.machine.id,
            msg = ("%s has a volume in %s and cannot be moved to %s"):format(cron.name,
                tostring(view.machine.region), tostring(view.region)),
            hint = "Its data would stay behind. If that is acceptable, destroy the machine; dgrun "
                .. "then "
                .. "creates it in the declared region." }
    end
end

local function change(inventory, cron, view, patience)
    local machine, goes = view.machine, moves(view)
    if goes then
        refuse_volume(view, cron)
    end
    note_tick(cron, machine)
    if not effect.planning() and not cron_machine.wait_idle(inventory.app, machine, patience) then
        return { id = machine.id, skipped = true }
    end
    local before = changes_of.readable(machine.config, image_of.of_machine(machine))
    local after = changes_of.readable(view.wanted)
    if goes then
        before.region, after.region = machine.region, view.region or machine.region
    end
    return effect.write {
        kind = goes and "fly.machine.replace" or "fly.machine.update", name = "machine",
        target = inventory.app .. "/" .. cron.name, before = before, after = after,
        summary = goes and ("move the cron machine %s to %s by replacing it"):format(
            cron.name, view.region or machine.region)
            or ("update the cron machine %s"):format(cron.name),
        apply = function()
            local body = body_of(inventory, view, { name = cron.name })
            if goes then
                return cron_machine.replace(inventory.app, machine, body, patience)
            end
            return cron_machine.update(inventory.app, machine, { config = body.config,
                version = body.min_secrets_version, patience = patience })
        end,
    }
end

---How long a tick is waited for: the second time not longer than the first.
local function patience_with(cron, how)
    local wait = how.wait
    if how.settling and not wait then
        local declared = cron.when_running and cron.when_running.wait
        wait = math.min(SETTLE_SECONDS, declared and format.seconds(declared) or SETTLE_SECONDS)
    end
    return cron_machine.patience(cron.when_running, wait)
end

---Has the ref no file for a cron machine that may be missing? It is left as it is.
local function has_no_file(inventory, cron, how)
    local path = inventory.dir / cron.config
    if not spec.may_be_missing(cron) or fs.exists(path) then
        return false
    elseif not how.settling then
        effect.note(("%s stays unchanged: %s does not exist"):format(cron.name, path))
    end
    return true
end

local function one(inventory, cron, how)
    if has_no_file(inventory, cron, how) then
        return { id = inventory.of[cron.name] and inventory.of[cron.name].id }
    end
    local view = inventory_of.view(inventory, cron)
    if not view.machine then
        return how.settling and {} or create(inventory, cron, view)
    elseif #view.differences > 0 then
        return change(inventory, cron, view, patience_with(cron, how))
    elseif needs_start(inventory.app, view.machine) then
        return cron_machine.arm(inventory.app, view.machine)
    elseif not how.settling then
        effect.note(("%s matches its declaration"):format(cron.name))
    end
    return { id = view.machine.id }
end

---What came of one declaration, whatever it was: the others are not left in the middle of it.
local function attempt(inventory, cron, how)
    local ok, result = pcall(diagnosis.around, inventory.app, one, inventory, cron, how)
    if not ok then
        return { failure = err.object(result) }
    elseif effect.is_unknown(result) then
        return { result = { name = cron.name } }
    end
    local skipped = result.skipped
    return { result = { name = cron.name, id = result.id,
        skipped = skipped and (skipped == true and "tick" or skipped) or nil } }
end

---Raises the first error, behind notes of the others.
local function raise_first(attempts, crons)
    local first
    for i, one_attempt in ipairs(attempts) do
        local failure = one_attempt.failure
        if failure and first then
            effect.note(("%s: %s"):format(crons[i].name, failure.msg or failure.code))
        end
        first = first or failure
    end
    if first then
        err.raise(first)
    end
end

local function report(inventory, opts)
    local found = {}
    for _, duplicate in ipairs(inventory.duplicates) do
        found[#found + 1] = { machine = duplicate.machine,
            text = ("a duplicate of %s"):format(duplicate.name) }
    end
    for _, orphan in ipairs(inventory.orphans) do
        found[#found + 1] = { machine = orphan, text = "not declared" }
    end
    for _, extra in ipairs(found) do
        local machine = extra.machine
        if not opts.prune then
            effect.note(("machine %s (%s, %s) is %s; prune = true removes it"):format(machine.id,
                machine.name, tostring(machine.config.schedule or "no schedule"), extra.text))
        else
            cron_machine.remove(inventory.app, machine, extra.text)
        end
    end
end

---@param opts dgrun.cron.options
---@param how? {settling?: boolean, wait?: string|number}
---@return dgrun.cron.result[]
function M.run(opts, how)
    how = how or {}
    local inventory = inventory_of.open(opts, how.settling and "cron.settle" or "cron.sync")
    local attempts = task.map(opts.crons, { limit = effect.planning() and 1 or AT_ONCE },
        function(cron) return attempt(inventory, cron, how) end)
    raise_first(attempts, opts.crons)
    if not how.settling then
        report(inventory, opts)
    end
    local results = {}
    for i, one_attempt in ipairs(attempts) do
        results[i] = one_attempt.result
    end
    return results
end

return M
