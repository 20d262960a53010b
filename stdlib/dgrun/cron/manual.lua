-- What a person does with a cron machine: one run of its job, another image, its removal.
local api = require "dgrun.fly.api"
local changes_of = require "dgrun.fly.diff"
local cron_machine = require "dgrun.cron.machine"
local diagnosis = require "dgrun.fly.diagnosis"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local inventory_of = require "dgrun.cron.inventory"
local job = require "dgrun.cron.job"
local opt = require "host.opt"
local run = require "dgrun.run.context"
local secrets_state = require "dgrun.fly.secrets"
local tables = require "dgrun.core.table"
local ticks_of = require "dgrun.cron.job_runs"

local M = {}

---The machine that is called so: by the declared name, its own, or its id.
local function find(found, word)
    local known = {}
    for name, machine in pairs(found.of) do
        if name == word or machine.id == word then
            return machine, name
        end
        known[#known + 1] = name
    end
    for _, orphan in ipairs(found.orphans) do
        local name = orphan.config.metadata.dgrun_cron or orphan.name
        if orphan.id == word or orphan.name == word or name == word then
            return orphan, name
        end
        known[#known + 1] = name
    end
    table.sort(known)
    return nil, known
end

local function refuse_unknown(app, word, known, op)
    local nearest = opt.nearest(word, known)
    err.raise { code = "cron.no_machine", op = op,
        msg = ("%s has no cron machine '%s'"):format(app, word),
        hint = nearest and ("Did you mean '%s'?"):format(nearest)
            or (#known > 0 and "Known: " .. table.concat(known, ", ") .. "."
                or ("It has no cron machines; %s creates the declared ones."):format(
                    api.command "cron_setup")) }
end

function M.run_now(opts)
    local machine, name = find(inventory_of.machines(opts.app), opts.name)
    if not machine then
        refuse_unknown(opts.app, opts.name, name, "cron.run_now")
    elseif #(machine.config.mounts or {}) > 0 then
        err.raise { code = "cron.has_volume", op = "cron.run_now",
            msg = ("%s has a volume, and a copy of the machine cannot use it"):format(name),
            hint = "Start the machine itself: " .. api.command(("machines start --app %s %s")
                :format(opts.app, machine.id)) }
    elseif ticks_of.runs(machine) and not opts.beside then
        err.raise { code = "refused.cron_running", op = "cron.run_now",
            msg = ("%s is running its job right now"):format(name),
            hint = "Wait for the job to end, or start another beside it: beside = true "
                .. "(--beside)." }
    end
    local config = tables.copy(machine.config)
    -- The tag may have moved since; the copy is of what runs.
    config.image = image_of.of_machine(machine)
    local state = secrets_state.read(opts.app)
    local result = job.run {
        app = opts.app, name = name, config = config, region = machine.region, shared = true,
        secrets_version = state.version, timeout = opts.timeout, on_line = opts.on_line,
        summary = ("run %s once, on a separate machine: %s"):format(name,
            table.concat(config.init and config.init.cmd or { "the image's command" }, " ")),
    }
    if not effect.is_unknown(result) then
        effect.note(("%s ended with exit code %s"):format(name, result.exit_code))
    end
    return result
end

local function update_one(app, name, machine, to)
    local secrets = to.secrets
    local config = tables.copy(machine.config)
    config.image, config.metadata = to.image, config.metadata or {}
    secrets_state.mark(secrets, config.metadata, machine)
    if image_of.same(to.image, image_of.of_machine(machine))
        and secrets_state.is_current(secrets, machine) then
        effect.note(("%s already has this image"):format(name))
        return { name = name, id = machine.id, changed = false }
    end
    local patience = cron_machine.patience(to.when_running)
    if not effect.planning() and not cron_machine.wait_idle(app, machine, patience) then
        return { name = name, id = machine.id, changed = false, skipped = true }
    end
    local result = effect.write {
        kind = "fly.machine.update", target = app .. "/" .. name, name = "machine",
        summary = ("update the image of the cron machine %s"):format(name),
        before = changes_of.readable(machine.config, image_of.of_machine(machine)),
        after = changes_of.readable(config),
        apply = function()
            local version = secrets_state.wanted_version(app, secrets, config.metadata, machine)
            return diagnosis.around(app, cron_machine.update, app, machine,
                { config = config, version = version, patience = patience })
        end,
    }
    local skipped = not effect.is_unknown(result) and result.skipped or nil
    return { name = name, id = machine.id, changed = not skipped, skipped = skipped }
end

---What of the machines differs from their declarations besides the image: an image that goes with
---another command line is a tick that dies.
local function what_else(opts, image, results)
    local lines = {}
    local inventory = inventory_of.open({ app = opts.app, crons = opts.crons or {}, image = image,
        dir = opts.dir or (run.current() and run.current().root) }, "cron.update_image")
    for _, cron in ipairs(opts.crons or {}) do
        local is_meant = false
        for _, result in ipairs(results) do
            is_meant = is_meant or (result.name == cron.name and not result.skipped)
        end
        local ok, view = pcall(inventory_of.view, inventory, cron)
        for _, one in ipairs(is_meant and ok and view.differences or {}) do
            lines[#lines + 1] = ("%s: %s"):format(cron.name, one.text)
        end
    end
    return #lines > 0 and err.new { code = "refused.cron_drift", op = "cron.update_image",
        msg = "apart from the image, some settings differ from the "
            .. "declaration:\n" .. table.concat(lines, "\n"),
        hint = api.command "cron_setup" .. " applies the whole declaration to the "
            .. "machines." } or nil
end

local function when_running_of(crons, name)
    for _, cron in ipairs(crons or {}) do
        if cron.name == name then
            return cron.when_running
        end
    end
end

function M.update_image(opts)
    local found = inventory_of.machines(opts.app, opts.crons)
    local chosen = {}
    if opts.name then
        local machine, name = find(found, opts.name)
        if not machine then
            refuse_unknown(opts.app, opts.name, name, "cron.update_image")
        end
        chosen[1] = { name = name, machine = machine }
    else
        for _, cron in ipairs(opts.crons or {}) do
            local machine = found.of[cron.name]
            chosen[#chosen + 1] = machine and { name = cron.name, machine = machine } or nil
        end
    end
    if #chosen == 0 then
        err.raise { code = "cron.no_machine", op = "cron.update_image",
            msg = ("%s has none of the declared cron machines"):format(opts.app),
            hint = api.command "cron_setup" .. " creates them." }
    end
    local image = inventory_of.resolved(opts.image or inventory_of.web_image(opts.app))
    local secrets = secrets_state.read(opts.app)
    local results = {}
    for i, one in ipairs(chosen) do
        results[i] = update_one(opts.app, one.name, one.machine, { image = image,
            secrets = secrets,
            when_running = opts.when_running or when_running_of(opts.crons, one.name) })
    end
    return results, not effect.planning() and what_else(opts, image, results) or nil
end

local function is_called(machine, word)
    local metadata = machine.config and machine.config.metadata or {}
    return machine.id == word or machine.name == word or metadata.dgrun_cron == word
end

local function refuse_declared(app, name)
    err.raise { code = "refused.declared", op = "cron.remove",
        msg = ("%s is declared as a cron machine of %s; the next deploy would create it again")
            :format(name, app),
        hint = "Remove the declaration from environments.yaml first, then the machine." }
end

---What can be removed and is called so.
local function removable(existing, word)
    local found = {}
    for _, orphan in ipairs(existing.orphans) do
        if is_called(orphan, word) then
            found[#found + 1] = { machine = orphan, why = "not declared" }
        end
    end
    for _, duplicate in ipairs(existing.duplicates) do
        if duplicate.machine.id == word then
            found[#found + 1] = { machine = duplicate.machine,
                why = "a duplicate of " .. duplicate.name }
        end
    end
    return found
end

local function names_of(existing)
    local names = {}
    for _, orphan in ipairs(existing.orphans) do
        names[#names + 1] = ("%s (%s)"):format(orphan.name, orphan.id)
    end
    for _, duplicate in ipairs(existing.duplicates) do
        names[#names + 1] = ("%s (a duplicate of %s)"):format(duplicate.machine.id, duplicate.name)
    end
    return names
end

---@param opts {app: string, machine: string, crons?: dgrun.cron.declaration[],
---  when_running?: dgrun.cron.when_running}
---@return {id: string, skipped?: boolean}[]
function M.remove(opts)
    local existing = inventory_of.machines(opts.app, opts.crons)
    local found = removable(existing, opts.machine)
    if #found == 0 then
        for name, machine in pairs(existing.of) do
            if is_called(machine, opts.machine) then
                refuse_declared(opts.app, name)
            end
        end
        local names = names_of(existing)
        err.raise { code = "input.unknown_machine", op = "cron.remove",
            msg = ("%s has no removable cron machine '%s'"):format(opts.app,
                opts.machine),
            hint = #names > 0 and "Removable: " .. table.concat(names, ", ") .. "."
                or "Each of its cron machines is declared and exists once." }
    elseif #found > 1 then
        local ids = {}
        for i, one in ipairs(found) do
            ids[i] = one.machine.id
        end
        err.raise { code = "input.ambiguous", op = "cron.remove",
            msg = ("%d cron machines of %s are named %s"):format(#found, opts.app, opts.machine),
            hint = "Give the id of one of them: " .. table.concat(ids, ", ") .. "." }
    end
    return cron_machine.remove(opts.app, found[1].machine, found[1].why, opts.when_running)
end

return M
