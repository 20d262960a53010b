-- May a cron machine be created? A declaration says so by `create`, by `gate` in environments.yaml,
-- or by a function `when` in Lua. A machine that exists is kept up to date whatever they say.
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local job = require "dgrun.cron.job"
local json = require "dgrun.core.json"
local proc = require "dgrun.proc"
local run = require "dgrun.run.context"
local secrets_state = require "dgrun.fly.secrets"
local tables = require "dgrun.core.table"

local M = {}

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

---Is the machine created under a condition, so that it may be missing?
---@param cron dgrun.cron.declaration
---@return boolean
function M.is_conditional(cron)
    return cron.create == false or cron.gate ~= nil
end

---May the machine be created? Why not is reported as a note.
---@param inventory dgrun.cron.inventory
---@param cron dgrun.cron.declaration
---@param view dgrun.cron.view
---@return boolean
function M.allows(inventory, cron, view)
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
    local passes, reason = cron.when(M.of(inventory, cron, view))
    if not passes then
        effect.note(("%s is not created yet: its gate refused%s"):format(cron.name,
            type(reason) == "string" and ": " .. reason or ""))
    end
    return passes and true or false
end

---@param inventory dgrun.cron.inventory
---@param cron dgrun.cron.declaration
---@param view dgrun.cron.view
---@return dgrun.cron.gate
function M.of(inventory, cron, view)
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
            return job.run({
                app = inventory.app, name = cron.name .. "-gate", config = config,
                region = view.region, secrets_version = version, timeout = opts and opts.timeout or 600,
                summary = ("ask whether %s may be created: %s"):format(cron.name,
                    table.concat(command, " ")),
            }).exit_code
        end,
    }
end

return M
