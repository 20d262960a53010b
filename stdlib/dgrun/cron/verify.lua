-- The cron machines of an app beside their declarations: `run` raises what is wrong, `list` shows
-- all of them.
local api = require "dgrun.fly.api"
local clock = require "dgrun.fly.clock"
local diagnosis = require "dgrun.fly.diagnosis"
local drift = require "dgrun.cron.drift"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local image_of = require "dgrun.core.image_ref"
local inventory_of = require "dgrun.cron.inventory"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local releases = require "dgrun.fly.releases"
local run = require "dgrun.run.context"
local spec = require "dgrun.cron.spec"
local task = require "dgrun.core.task"
local ticks_of = require "dgrun.cron.job_runs"
local time = require "host.time"

local M = {}

local AT_ONCE = 8
---How long the tick is waited for that an update has started, to see how it ends.
M.tick_seconds = 60

---Waits for a tick that runs, so that there is an exit code to judge.
local function see_tick(inventory, cron, seconds)
    local machine = inventory.of[cron.name]
    if not machine or not ticks_of.runs(machine) or seconds == 0 then
        return
    end
    effect.note(("%s is running its job; waiting up to %s for it to end"):format(cron.name,
        format.duration(seconds)))
    local ok, e = pcall(machines.wait, inventory.app, machine.id, { state = "stopped",
        seconds = seconds, instance_id = machine.instance_id })
    if not ok and not err.is(e, "fly.timeout") then
        err.raise(e)
    elseif not ok then
        effect.note(("%s is still running its job; the result is unknown"):format(cron.name))
    end
    inventory.of[cron.name] = machines.get(inventory.app, machine.id)
end

local function missing(cron)
    return { { kind = "missing", text = "it does not exist" .. (cron.when
        and "; its gate may have refused to create it" or "") } }
end

---@return dgrun.cron.problem[]
---@return "matches"|"gated"|"missing"|"left" why there are no problems
local function of_one(inventory, cron, opts)
    if spec.may_be_missing(cron) and not fs.exists(inventory.dir / cron.config) then
        return {}, inventory.of[cron.name] and "left" or "missing"
    end
    see_tick(inventory, cron, opts.wait or api.pace(M.tick_seconds))
    local machine = inventory.of[cron.name]
    if not machine then
        if spec.is_conditional(cron) then
            return {}, "gated"
        elseif cron.optional or opts.optional then
            effect.note(("%s does not exist, which is allowed (optional)"):format(cron.name))
            return {}, "missing"
        end
        return missing(cron), "missing"
    end
    local problems = drift.problems(inventory_of.view(inventory, cron), clock.now())
    for _, duplicate in ipairs(inventory.duplicates) do
        if duplicate.name == cron.name then
            problems[#problems + 1] = { kind = "duplicate",
                text = ("machine %s runs the same job"):format(duplicate.machine.id) }
        end
    end
    for _, problem in ipairs(problems) do
        problem.machine = machine.id
    end
    return problems, "matches"
end

local endings = { { "gated", "%d not created (gated)" }, { "missing", "%d missing (optional)" },
    { "left", "%d left unchanged" } }

---"3 cron machines match, 5 not created (gated)"
local function summary(counts)
    local parts = { format.count(counts.matches, "cron machine matches", "cron machines match") }
    for _, ending in ipairs(endings) do
        local count = counts[ending[1]]
        parts[#parts + 1] = count > 0 and ending[2]:format(count) or nil
    end
    return table.concat(parts, ", ")
end

---What to do about each kind; those about a machine get its app and its id.
local hints = {
    exit = function(app, machine)
        return "Its log: " .. api.command(("logs --app %s --instance %s"):format(app, machine))
    end,
    duplicate = "cron.sync { prune = true } removes surplus machines.",
    drift = "cron.sync updates differing machines as soon as no job runs; "
        .. "cron_setup does only that.",
    missing = "cron.sync creates missing machines where their condition allows it; cron_setup does "
        .. "only that. Mark a machine that need not exist with optional: true.",
    stopped = "cron.sync starts machines that were left stopped.",
    overdue = "Fly did not start it in time. Look at its events, or start it manually.",
}
local order = { "drift", "missing", "stopped", "duplicate", "exit", "overdue" }

local function advice(app, problems)
    local lines = {}
    for _, kind in ipairs(order) do
        for _, problem in ipairs(problems) do
            if problem.kind == kind then
                local hint = hints[kind]
                lines[#lines + 1] = type(hint) == "function" and hint(app, problem.machine or "")
                    or hint
                break
            end
        end
    end
    return table.concat(lines, "\n")
end

local function refuse(app, problems)
    local lines, about = {}, nil
    for i, problem in ipairs(problems) do
        lines[i] = ("%s: %s"):format(problem.name, problem.text)
        -- Of a tick that died the log says more than anything else.
        about = problem.kind == "exit" and problem.machine or about or problem.machine
    end
    err.raise(diagnosis.attach(app, err.new {
        code = "cron.drift", op = "cron.verify", drift = lines, problems = problems,
        machine = about, hint = advice(app, problems),
        msg = ("%s with the cron machines of %s:\n%s"):format(#lines == 1 and "1 problem"
            or #lines .. " problems", app, table.concat(lines, "\n")),
    }))
end

---@param opts dgrun.cron.verify
function M.run(opts)
    local inventory = inventory_of.open(opts, "cron.verify")
    local counts = { matches = 0, gated = 0, missing = 0, left = 0 }
    local found = task.map(opts.crons, { limit = AT_ONCE }, function(cron)
        local list, how = of_one(inventory, cron, opts)
        counts[how] = counts[how] + 1
        return list
    end)
    local problems = {}
    for i, list in ipairs(found) do
        for _, problem in ipairs(list) do
            problem.name = opts.crons[i].name
            problems[#problems + 1] = problem
        end
    end
    for _, orphan in ipairs(inventory.orphans) do
        effect.note(("machine %s (%s, %s, %s) is an undeclared cron machine"):format(
            orphan.id, orphan.name, tostring(orphan.config.schedule or "no schedule"),
            image_of.abbreviated(image_of.of_machine(orphan))))
    end
    if #problems > 0 then
        refuse(opts.app, problems)
    end
    effect.note(summary(counts))
end

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
        local gated = spec.is_conditional(cron)
        return { name = cron.name, kind = "missing", schedule = cron.schedule,
            optional = cron.optional, gated = gated or nil,
            problems = json.array(not (cron.optional or gated)
                and { { kind = "missing", text = "it does not exist" } } or {}) }
    elseif not ok then
        view = { machine = machine, differences = { { field = "declaration",
            text = "cannot read its declaration: " .. err.object(view).msg } } }
    end
    local problems, ticks = drift.problems(view, clock.now())
    return row_of(inventory, machine, ticks, { name = cron.name, kind = "declared",
        optional = cron.optional, problems = json.array(problems) })
end

local function extra_row(inventory, machine, kind, text, name)
    return row_of(inventory, machine, ticks_of.of(machine, clock.now()), {
        name = name or machine.name, kind = kind, problems = { { kind = kind, text = text } },
    })
end

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
function M.list(opts)
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

---@class dgrun.cron.target the cron machines of an environment or an app
---@field name string
---@field app string
---@field crons dgrun.cron.row[]
---@field error? string why they are not known

---The cron machines of an environment. A failure is reported for this environment alone.
local function of_target(target)
    local declared = target.environment and target.environment.crons or {}
    local ok, list = pcall(M.list, { app = target.app, crons = declared,
        dir = run.current() and run.current().root })
    if not ok and err.is(list, "cancelled") then
        err.raise(list)
    end
    return { name = target.name, app = target.app, crons = json.array(ok and list or {}),
        error = not ok and err.object(list).msg or nil }, not ok and err.object(list) or nil
end

---What is wrong, for a monitor.
local function refusal(targets)
    local lines = {}
    for _, target in ipairs(targets) do
        for _, row in ipairs(target.crons) do
            for _, problem in ipairs(row.problems) do
                lines[#lines + 1] = ("%s of %s: %s"):format(row.name, target.name, problem.text)
            end
        end
    end
    return #lines > 0 and err.new { code = "refused.cron", op = "cron",
        msg = ("%s with cron machines"):format(format.count(#lines, "problem")),
            problems = lines } or nil
end

---The cron machines of several targets, asked for side by side.
---@param targets dgrun.target[]
---@param strict? boolean
---@return dgrun.cron.target[]
---@return dgrun.err?
function M.overview(targets, strict)
    local failure
    local found = task.map(targets, {}, function(target)
        local result, e = of_target(target)
        failure = failure or e
        return result
    end)
    return json.array(found), failure or (strict and refusal(found)) or nil
end

return M
