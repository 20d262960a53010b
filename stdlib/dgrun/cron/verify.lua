-- Are the cron machines of an app as they are declared, and do their ticks end well?
local api = require "dgrun.fly.api"
local clock = require "dgrun.fly.clock"
local diagnosis = require "dgrun.fly.diagnosis"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local gate = require "dgrun.cron.gate"
local image_of = require "dgrun.core.image_ref"
local inspect = require "dgrun.cron.inspect"
local inventory_of = require "dgrun.cron.inventory"
local machines = require "dgrun.fly.machines"
local spec = require "dgrun.cron.spec"
local task = require "dgrun.core.task"
local ticks_of = require "dgrun.cron.job_runs"

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
        if gate.is_conditional(cron) then
            return {}, "gated"
        elseif cron.optional or opts.optional then
            effect.note(("%s does not exist, which is allowed (optional)"):format(cron.name))
            return {}, "missing"
        end
        return missing(cron), "missing"
    end
    local problems = inspect.problems(inventory_of.view(inventory, cron), clock.now())
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

return M
