-- Reports the outcome of a run, and gives its exit status.
local advice = require "dgrun.run.advice"
local environment = require "dgrun.project.environment"
local exit_status = require "dgrun.cli.exit_status"
local format = require "dgrun.core.format"
local host_task = require "host.task"
local json = require "dgrun.core.json"
local log = require "host.log"
local plan_of = require "dgrun.run.plan"
local run = require "dgrun.run.context"
local store_of = require "dgrun.run.store"
local ui = require "dgrun.ui.plain"

local M = {}

local telling = { "commit", "release", "image" }
local rank = { commit = 1, release = 2, image = 3, url = 5, run = 6 }

---Facts for the summary: those that the run reported or its steps returned, and the sites.
local function facts(r)
    for _, step in ipairs(r.steps) do
        for _, name in ipairs(telling) do
            local value = type(step.result) == "table" and step.result[name]
            if type(value) == "table" and value.version then
                value = "v" .. tostring(value.version)
            end
            if type(value) == "string" and not run.find_fact(r, name) then
                run.add_fact(r, name, value)
            end
        end
    end
    local seen = {}
    for _, env in ipairs(environment.used()) do
        if env.url and not seen[env.url] then
            seen[env.url] = true
            local is_simulated = rawget(env, "sandbox") and env.sandbox.simulate
            run.add_fact(r, "url", env.url .. (not r.sandbox and ""
                or is_simulated and " (in the sandbox, simulated)" or " (in the sandbox)"))
        end
    end
    if #r.effects > 0 or #r.steps > 0 then
        run.add_fact(r, "run", r.id)
    end
    table.sort(r.facts, function(a, b)
        local left, right = rank[a.name] or 4, rank[b.name] or 4
        return left < right or left == right and a.name < b.name
    end)
    return r.facts
end

---The command line that repeats this run.
local function again(arguments, plan)
    local parts = { "dgrun" }
    local function add(text)
        parts[#parts + 1] = format.shell_word(text)
    end
    if plan then
        add "plan"
    end
    if arguments.code then
        add "-e"
    end
    add(arguments.code or arguments.word)
    for i, text in ipairs(arguments.rest) do
        parts[#parts + 1] = arguments.dashes == i - 1 and "--" or nil
        add(text)
    end
    if arguments.sandbox then
        add "--sandbox"
    end
    return table.concat(parts, " ")
end

---Shows the part of a plan before its failure.
local function tell_found(r)
    if r.plan and (#r.effects > 0 or #r.notes > 0) then
        log.out(log.clean(plan_of.render(r)))
    end
end

---The end of a pipeline or a plain script.
---@param r dgrun.run
---@param arguments dgrun.cli.arguments
---@param quiet boolean print nothing after success
---@return integer # exit status
function M.of_run(r, arguments, quiet)
    if r.status == "done" then
        if r.plan then
            log.out(log.clean(plan_of.render(r)))
        elseif not quiet then
            ui.summary(r, facts(r))
        end
        return 0
    end
    facts(r)
    tell_found(r)
    local resumable = r.status == "cancelled" and store_of.known(r)
    ui.failure(r, {
        signal = host_task.signal(), trace = arguments.trace,
        next_step = resumable and not r.error.hint
            and "Continue where it stopped: dgrun resume " .. r.id
            or advice.next_step(r.error, again(arguments, r.plan), r.plan),
    })
    return exit_status.of(r.error)
end

local function show(action, input, data)
    if input.json and action.show then
        log.out(json.masked(data) .. "\n")
    elseif action.show then
        log.out(action.show(data, input))
    end
end

---Reports arguments that a command does not accept.
---@param e dgrun.err
---@param arguments dgrun.cli.arguments
---@return integer # exit status
function M.of_refusal(e, arguments)
    ui.complain(e, arguments.trace)
    return exit_status.of(e)
end

---Reports a failed command: briefly, unless it had started to change something.
local function tell_failure(r, arguments)
    local e = r.error
    if #r.effects > 0 and not r.plan then
        return M.of_run(r, arguments, true)
    end
    -- A line number helps only the author of the script.
    if e.code ~= "lua.error" and not arguments.trace then
        e.where = nil
    end
    tell_found(r)
    if r.status ~= "cancelled" then
        ui.complain(e, arguments.trace)
    end
    return exit_status.of(e)
end

---The end of a command.
---@param r dgrun.run
---@param arguments dgrun.cli.arguments
---@param action dgrun.command.action
---@param found {data: any, problem?: dgrun.err} its results
---@return integer # exit status
function M.of_command(r, arguments, action, found)
    if r.status ~= "done" then
        return tell_failure(r, arguments)
    elseif r.plan then
        return M.of_run(r, arguments, true)
    end
    show(action, r.input, found.data)
    if not found.problem then
        return 0
    end
    if not found.problem.silent then
        ui.complain(found.problem, arguments.trace)
    end
    return found.problem.exit_status or exit_status.of(found.problem)
end

return M
