-- The cron machines, against their declarations as of the commit that is deployed.
local cron = require "dgrun.cron"
local format = require "dgrun.format"
local overview = require "dgrun.fly.overview"
local shared = require "dgrun.status.shared"

local M = {}

---@class dgrun.status.cron: dgrun.cron.inspection
---@field declared boolean
---@field schedule? string as declared

local function first_image(list)
    for _, machine in ipairs(list) do
        if machine.kind == "web" then
            return machine.image
        end
    end
end

local function problems_of(one, now, list)
    for _, text in ipairs(one.drift or {}) do
        list[#list + 1] = ("%s: %s"):format(one.name, text)
    end
    if one.exit_code and one.exit_code ~= 0 then
        list[#list + 1] = ("%s: its last tick%s ended with exit code %d"):format(one.name,
            one.last_tick and (", %s ago,"):format(format.age(now - one.last_tick)) or "",
            one.exit_code)
    end
end

---Machines with a schedule that are not among these.
local function strays(list, known)
    local found = {}
    for _, machine in ipairs(list) do
        if machine.kind == "cron" and not known[machine.id] then
            found[#found + 1] = { id = machine.id, name = machine.name, state = machine.state,
                declared = false, exit_code = machine.exit and machine.exit.exit_code }
        end
    end
    return found
end

---Without the files that were deployed one cannot tell what should be.
local function inspect(place, raw, image)
    local crons = place.environment.crons
    local files, e = shared.attempt(place.files)
    local list = cron.inspect { app = place.app, crons = crons, machines = raw, dir = files,
        image = image }
    for i, one in ipairs(list) do
        one.declared, one.schedule = true, crons[i].schedule
        one.drift = one.drift and require("dgrun.json").array(one.drift)
        if not files and one.state ~= "missing" then
            one.drift, one.unknown = nil, e and e.msg
                or "the app's machines do not say which commit was deployed"
        end
    end
    return list
end

---@param place dgrun.status.place
---@return dgrun.status.cron[]? # nil where there are none
---@return string[]? problems
function M.ask(place)
    local raw = place.machines()
    local list = overview.all(raw)
    local image = first_image(list)
    local found, known, problems = {}, {}, {}
    if place.environment and #place.environment.crons > 0 and image then
        found = inspect(place, raw, image)
    end
    for _, one in ipairs(found) do
        known[one.id or 1] = true
        problems_of(one, place.now, problems)
    end
    for _, stray in ipairs(strays(list, known)) do
        found[#found + 1] = stray
        if place.environment then
            problems[#problems + 1] = ("%s has a schedule, but is not declared"):format(stray.name)
        end
    end
    return #found > 0 and require("dgrun.json").array(found) or nil, problems
end

return M
