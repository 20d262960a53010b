-- A command on a machine of its own that is like a cron machine: one run of its job, or of a
-- command that tells whether the machine may be created. It is destroyed behind its command. One of
-- a run that was killed is found again by its metadata.
-- And the gate: a declaration says whether its machine may be created, by `create`, by `gate` in
-- environments.yaml, or by a function `when` in Lua. An existing machine is always updated.
local check = require "dgrun.core.check"
local diagnosis = require "dgrun.fly.diagnosis"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local one_off = require "dgrun.fly.one_off"
local proc = require "dgrun.proc"
local run = require "dgrun.run.context"
local secrets_state = require "dgrun.fly.secrets"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"

local M = {}

local WAIT_SECONDS = 300

---@class dgrun.cron.job
---@field app string
---@field name string of the cron machine, or of its gate
---@field config table of the Machines API, with its image
---@field region? string
---@field secrets_version? integer
---@field timeout? number seconds it may run; any when absent
---@field on_line? fun(line: string) what it prints; the run's log when absent
---@field shared? boolean one that runs already will do, whoever started it
---@field summary string

---@class dgrun.cron.job_result
---@field exit_code integer -1 where Fly does not tell
---@field oom_killed boolean
---@field machine string id

local counted = setmetatable({}, { __mode = "k" }) ---@type table<any, table<string, integer>>

---What one call is known by: the same when its run is resumed.
local function key_of(name)
    local current = run.current()
    if not current then
        return nil
    end
    local step = run.current_step()
    local counts = counted[current] or {}
    counted[current] = counts
    local place = ("%s/%s"):format(step and tostring(step.seq) or "", name)
    counts[place] = (counts[place] or 0) + 1
    return ("%s/%s/%d"):format(current.id, place, counts[place])
end

local up = { started = true, starting = true, stopping = true, restarting = true }

---Those of a job; ended ones are to be seen for a while.
local function machines_of(job)
    local found = {}
    for _, machine in ipairs(machines.list(job.app, { ["metadata.dgrun_job"] = job.name,
            include_deleted = "true" })) do
        local metadata = machine.config and machine.config.metadata or {}
        found[#found + 1] = metadata.dgrun_job == job.name and machine or nil
    end
    return found
end

---The machine that this call had made before its run was killed; else one that runs, where that
---does as well. Those that were never started are removed.
local function earlier(job, key)
    local own, other
    for _, machine in ipairs(machines_of(job)) do
        local gone = machines.is_gone(machine)
        if not gone and not up[machine.state] then
            machines.destroy(job.app, machine.id)
        elseif key and machine.config.metadata.dgrun_job_of == key then
            own = machine
        elseif not gone then
            other = machine
        end
    end
    return own or (job.shared and other) or nil
end

local function prepared(job, key)
    local config = tables.copy(job.config)
    config.schedule, config.standbys = nil, nil
    config.metadata = { dgrun_job = job.name, dgrun_job_of = key }
    return config
end

---Who stops waiting is told that the job goes on.
local function left_alone(job, e, id)
    e = err.object(e)
    if err.is(e, "cancelled") and id then
        e.hint = ("The job continues on machine %s of %s and ends by itself. Repeat the call "
            .. "to follow it again."):format(id, job.app)
    end
    err.raise(e)
end

local function carry_out(job, key)
    local id
    local opts = {
        app = job.app, region = job.region, secrets_version = job.secrets_version, live = true,
        wait_timeout = WAIT_SECONDS, timeout = job.timeout or 0,
        on_line = job.on_line or run.log, on_start = function(made) id = made end,
    }
    local ok, exit, machine_id = pcall(function()
        local other = earlier(job, key)
        if other then
            id = other.id
            effect.note(("%s is already running on machine %s; waiting for it to "
                .. "end"):format(job.name,
                id))
            return one_off.adopt(opts, id)
        end
        opts.config = prepared(job, key)
        return one_off.run(opts)
    end)
    if not ok then
        left_alone(job, exit, id)
    elseif not exit then
        err.raise { code = "cron.run_timeout", op = "cron.run_now", machine = machine_id,
            msg = ("%s did not end within %s; its machine was destroyed"):format(job.name,
                format.duration(job.timeout)),
            hint = "Allow more time with timeout, in seconds." }
    end
    return { exit_code = exit.exit_code, oom_killed = exit.oom_killed, machine = machine_id }
end

---Runs it, an effect. In a plan the result is an unknown value.
---@param job dgrun.cron.job
---@return dgrun.cron.job_result
function M.run(job)
    local key = key_of(job.name)
    return effect.write {
        kind = "fly.machine.run", target = job.app .. "/" .. job.name, name = "job",
        summary = job.summary, once = key,
        apply = function()
            task.checkpoint()
            return diagnosis.around(job.app, carry_out, job, key)
        end,
    }
end

---@class dgrun.cron.gate
---@field app string
---@field name string
---@field image string
---@field run fun(command: string[], opts?: {timeout?: number}): integer runs a command on a machine
---  of its own, as the cron machine would be: its exit code

---Seconds that the command of a gate may take.
local COMMAND_SECONDS = 600

---Asks the command of a gate, in the checkout and with the secrets of the cron machine's
---environment. It only asks, so a plan runs it too.
---@return string? # why it does not pass
local function refusal_of_command(inventory, cron, command)
    local env = environment.of_cron(cron)
    local result = proc.run { argv = command, cwd = inventory.dir, read_only = true, expect = "any",
        env = env and environment.variables(env) or nil, timeout = COMMAND_SECONDS,
        on_line = function(line) run.log(line) end }
    if result.status ~= 0 then
        return ("%s ended with %s"):format(proc.shown(command), result.signal
            and ("signal %d"):format(result.signal) or ("status %d"):format(result.status))
    end
end

---@return string? # why the gate of environments.yaml does not pass
local function refusal_of_gate(inventory, cron)
    local gate = check.options(cron.gate, { command = "table?", input = "string?" },
        cron.name .. ": gate")
    local current = run.current()
    local given = current and current.input or {}
    if gate.input and given[gate.input] ~= true then
        local flag = "--" .. gate.input:gsub("_", "-")
        return given[gate.input] == nil
            and ("this pipeline has no input %s"):format(flag)
            or ("without %s"):format(flag)
    end
    return gate.command and refusal_of_command(inventory, cron, gate.command)
end

---What a function `when` of a declaration gets.
---@return dgrun.cron.gate
local function gate_of(inventory, cron, view)
    return {
        app = inventory.app, name = cron.name, image = inventory.image,
        run = function(command, opts)
            local config = tables.copy(view.wanted)
            local version = secrets_state.wanted_version(inventory.app, inventory.secrets,
                config.metadata)
            config.init = config.init or {}
            config.init.exec = nil
            config.init.cmd = json.array { unpack(command) }
            config.mounts = nil
            return M.run({
                app = inventory.app, name = cron.name .. "-gate", config = config,
                region = view.region, secrets_version = version,
                timeout = opts and opts.timeout or COMMAND_SECONDS,
                summary = ("ask whether %s may be created: %s"):format(cron.name,
                    table.concat(command, " ")),
            }).exit_code
        end,
    }
end

---May a cron machine be created? Why not is reported as a note.
---@param inventory dgrun.cron.inventory
---@param cron dgrun.cron.declaration
---@param view dgrun.cron.view
---@return boolean
function M.may_create(inventory, cron, view)
    local refusal
    if cron.create == false then
        refusal = "dgrun only updates it (create: false)"
    elseif cron.gate then
        refusal = refusal_of_gate(inventory, cron)
    end
    if refusal then
        effect.note(("%s is not created: %s"):format(cron.name, refusal))
        return false
    elseif not cron.when or effect.planning() then
        return true
    end
    local passes, reason = cron.when(gate_of(inventory, cron, view))
    if not passes then
        effect.note(("%s is not created yet: its gate refused%s"):format(cron.name,
            type(reason) == "string" and ": " .. reason or ""))
    end
    return passes and true or false
end

return M
