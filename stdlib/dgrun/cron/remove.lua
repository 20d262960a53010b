-- Removes cron machines that nobody declares, and those that are there twice.
local changes_of = require "dgrun.fly.diff"
local cron_machine = require "dgrun.cron.machine"
local diagnosis = require "dgrun.fly.diagnosis"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local inventory_of = require "dgrun.cron.inventory"

local M = {}

---@param app string
---@param machine table as the API shows it
---@param why string "declared by nobody"
---@param when? dgrun.cron.when_running
---@return {id: string, skipped?: boolean}
function M.machine(app, machine, why, when)
    local patience = cron_machine.patience(when)
    if not effect.planning() and not cron_machine.wait_idle(app, machine, patience) then
        return { id = machine.id, skipped = true }
    end
    return effect.write {
        kind = "fly.machine.destroy", target = app .. "/" .. machine.id, name = "machine",
        summary = ("remove the cron machine %s (%s), %s"):format(machine.name or "?", machine.id,
            why),
        before = changes_of.readable(machine.config, image_of.of_machine(machine)),
        apply = function()
            return diagnosis.around(app, cron_machine.destroy, app, machine, patience)
        end,
    }
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
function M.run(opts)
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
    return M.machine(opts.app, found[1].machine, found[1].why, opts.when_running)
end

return M
