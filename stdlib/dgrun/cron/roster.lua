-- Which machine of an app is which cron machine; those that are there twice, and those that
-- nothing declares.
local machines = require "dgrun.fly.machines"

local M = {}

---@class dgrun.cron.roster
---@field of table<string, table?> machine by the name of the declaration
---@field duplicates {name: string, machine: table}[] others that tick for the same declaration
---@field strays table[] machines with a schedule or dgrun's mark that no declaration names

local function metadata_of(machine)
    return machine.config and machine.config.metadata or {}
end

---Could it be a cron machine? Those of deploys are not, nor are one-off copies.
local function is_candidate(machine)
    return not machines.is_gone(machine) and not machines.is_managed(machine)
        and metadata_of(machine).dgrun_job == nil
end

---The first of several for one declaration is the machine, the others are too many: one that dgrun
---made under that name, then the oldest.
local function before(name)
    local function fit(machine)
        return (metadata_of(machine).dgrun_cron == name and 2 or 0)
            + (machine.name == name and 1 or 0)
    end
    return function(a, b)
        if fit(a) ~= fit(b) then
            return fit(a) > fit(b)
        elseif (a.created_at or "") ~= (b.created_at or "") then
            return (a.created_at or "") < (b.created_at or "")
        end
        return a.id < b.id
    end
end

---@param all table[] machines of the app
---@param crons dgrun.cron.declaration[]
---@return dgrun.cron.roster
function M.of(all, crons)
    local roster = { of = {}, duplicates = {}, strays = {} }
    local candidates, declared = {}, {}
    for _, cron in ipairs(crons) do
        candidates[cron.name], declared[cron.name] = {}, true
    end
    for _, machine in ipairs(all) do
        if is_candidate(machine) then
            local mark = metadata_of(machine).dgrun_cron
            local name = mark or machine.name
            if declared[name] then
                table.insert(candidates[name], machine)
            elseif mark or machines.is_cron(machine) then
                table.insert(roster.strays, machine)
            end
        end
    end
    for _, cron in ipairs(crons) do
        local list = candidates[cron.name]
        table.sort(list, before(cron.name))
        roster.of[cron.name] = table.remove(list, 1)
        for _, machine in ipairs(list) do
            table.insert(roster.duplicates, { name = cron.name, machine = machine })
        end
    end
    return roster
end

---The machine of a deploy that has a cron machine's name; Fly lets no other have it.
---@param all table[]
---@param name string
---@return table?
function M.name_holder(all, name)
    for _, machine in ipairs(all) do
        if machine.name == name and not machines.is_gone(machine) then
            return machine
        end
    end
end

return M
