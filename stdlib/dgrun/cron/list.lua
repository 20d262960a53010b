-- The cron machines of an app as a person asks for them: declared ones beside what is there.
local clock = require "dgrun.fly.clock"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local gate = require "dgrun.cron.gate"
local image_of = require "dgrun.core.image_ref"
local inspect = require "dgrun.cron.inspect"
local inventory_of = require "dgrun.cron.inventory"
local json = require "dgrun.core.json"
local releases = require "dgrun.fly.releases"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"
local ticks_of = require "dgrun.cron.job_runs"
local time = require "host.time"

local M = {}

---@class dgrun.cron.row
---@field name string
---@field kind "declared"|"missing"|"duplicate"|"stray"
---@field machine? string id
---@field schedule? string
---@field state? string
---@field region? string
---@field running? boolean
---@field last_tick? string
---@field next_tick? string when it is expected, approximately
---@field overdue? boolean
---@field exit_code? integer of the newest tick with the present version
---@field image? string by digest
---@field image_created? string when a release first had it
---@field image_age? integer seconds
---@field optional? boolean
---@field gated? boolean missing, which its declaration allows
---@field problems {kind: string, field?: string, text: string}[]

---When a release first had the image of a machine; the newest releases are known.
local function births(app, known)
    local ok, list = true, known
    if not known then
        ok, list = pcall(releases.list, app, 50)
    end
    return function(image)
        local oldest
        for _, release in ipairs(ok and list or {}) do
            local parsed, same = pcall(image_of.same, tostring(release.image_ref), image)
            oldest = parsed and same and release.created_at or oldest
        end
        return oldest
    end
end

local function moment(seconds)
    return seconds and time.iso(seconds) or nil
end

local function row_of(inventory, machine, ticks, more)
    local image = image_of.of_machine(machine)
    local created = inventory.birth(image)
    local born = created and time.parse(created)
    local row = {
        machine = machine.id, schedule = machine.config and machine.config.schedule,
        state = machine.state, region = machine.region, running = ticks.running,
        last_tick = moment(ticks.last), next_tick = moment(ticks.next), overdue = ticks.overdue,
        exit_code = ticks.exit and ticks.exit.exit_code, image = image, image_created = created,
        image_age = born and math.floor(math.max(0, clock.now() - born)) or nil,
    }
    for name, value in pairs(more) do
        row[name] = value
    end
    return row
end

---What cannot be told, such as a file that is not there, is a problem of the one row.
local function declared_row(inventory, cron)
    local machine = inventory.of[cron.name]
    local ok, view = pcall(inventory_of.view, inventory, cron)
    if not machine then
        local gated = gate.is_conditional(cron)
        return { name = cron.name, kind = "missing", schedule = cron.schedule,
            optional = cron.optional, gated = gated or nil,
            problems = json.array(not (cron.optional or gated)
                and { { kind = "missing", text = "it does not exist" } } or {}) }
    elseif not ok then
        view = { machine = machine, differences = { { field = "declaration",
            text = "cannot read its declaration: " .. err.object(view).msg } } }
    end
    local problems, ticks = inspect.problems(view, clock.now())
    return row_of(inventory, machine, ticks, { name = cron.name, kind = "declared",
        optional = cron.optional, problems = json.array(problems) })
end

local function extra_row(inventory, machine, kind, text, name)
    return row_of(inventory, machine, ticks_of.of(machine, clock.now()), {
        name = name or machine.name, kind = kind, problems = { { kind = kind, text = text } },
    })
end

---@param opts dgrun.cron.options|{known?: dgrun.cron.known}
---@return dgrun.cron.row[]
local function rows(opts)
    local inventory = inventory_of.open(opts, "cron.list")
    inventory.birth = births(opts.app, opts.known and opts.known.releases)
    local list = {}
    for i, cron in ipairs(opts.crons) do
        list[i] = declared_row(inventory, cron)
    end
    for _, duplicate in ipairs(inventory.duplicates) do
        list[#list + 1] = extra_row(inventory, duplicate.machine, "duplicate",
            ("a duplicate of %s"):format(duplicate.name), duplicate.name)
    end
    for _, orphan in ipairs(inventory.orphans) do
        list[#list + 1] = extra_row(inventory, orphan, "stray", "it is not declared")
    end
    return list
end

---@param opts {app: string, crons?: dgrun.cron.declaration[], image?: string, dir?: string,
---  known?: dgrun.cron.known} image: that of the web machines; known: is not asked for again
---@return dgrun.cron.row[]
function M.of(opts)
    local image = opts.image
    if not image then
        local ok, found = pcall(inventory_of.web_image, opts.app)
        if not ok and not err.is(found, "cron") then
            err.raise(found)
        end
        image = ok and found or nil
    end
    return rows { app = opts.app, crons = opts.crons or {}, image = image, dir = opts.dir,
        known = opts.known }
end

---@class dgrun.cron.place the cron machines of an environment or an app
---@field name string
---@field app string
---@field crons dgrun.cron.row[]
---@field error? string why they are not known

---What an environment has; what fails is told of this one only.
local function of_place(place)
    local declared = place.environment and place.environment.crons or {}
    local ok, list = pcall(M.of, { app = place.app, crons = declared,
        dir = run.current() and run.current().root })
    if not ok and err.is(list, "cancelled") then
        err.raise(list)
    end
    return { name = place.name, app = place.app, crons = json.array(ok and list or {}),
        error = not ok and err.object(list).msg or nil }, not ok and err.object(list) or nil
end

---What is wrong, for a monitor.
local function refusal(places)
    local lines = {}
    for _, place in ipairs(places) do
        for _, row in ipairs(place.crons) do
            for _, problem in ipairs(row.problems) do
                lines[#lines + 1] = ("%s of %s: %s"):format(row.name, place.name, problem.text)
            end
        end
    end
    return #lines > 0 and err.new { code = "refused.cron", op = "cron",
        msg = ("%s with cron machines"):format(format.count(#lines, "problem")),
            problems = lines } or nil
end

---The cron machines of several places, asked for side by side.
---@param places dgrun.place[]
---@param strict? boolean
---@return dgrun.cron.place[]
---@return dgrun.err?
function M.overview(places, strict)
    local failure
    local found = task.map(places, {}, function(place)
        local result, e = of_place(place)
        failure = failure or e
        return result
    end)
    return json.array(found), failure or (strict and refusal(found)) or nil
end

return M
