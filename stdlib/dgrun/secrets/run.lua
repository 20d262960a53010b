-- A local command with the secrets of an environment in its process environment, never on its
-- command line. The values are not journaled; a plan records the command without running it.
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local host = require "host.proc"
local proc = require "dgrun.proc"

local M = {}

---The exit status of a shell for an unknown program.
local NOT_FOUND = 127

---@class dgrun.secrets.run.options
---@field environment dgrun.environment
---@field command string[] a program and its arguments

---@class dgrun.secrets.run.result
---@field status integer of the command; 128 + signal when a signal ended the command
---@field signal? integer
---@field seconds number

local options = { environment = "table", command = "table" }

---The failure of a command, with dgrun's exit status. The command itself has printed the reason.
local function problem(result)
    return result.status ~= 0 and err.new { code = "command.failed", silent = true,
        exit_status = result.status,
        msg = ("the command exited with status %d"):format(result.status) } or nil
end

local function not_started(e)
    if not err.is(e, "proc.not_found") then
        err.raise(e)
    end
    e.msg = e.msg:gsub("^proc%.foreground: ", "")
    e.exit_status = NOT_FOUND
    return nil, e
end

---Runs a command with the secrets and literals of an environment in its process environment, but
---not the private secrets. Looks up all values first.
---@param opts dgrun.secrets.run.options
---@return dgrun.secrets.run.result? result nil in a plan, and when the command could not be started
---@return dgrun.err? problem how the command failed; dgrun exits with `exit_status`
function M.run(opts)
    check.options(opts, options, "secrets.run")
    local command = opts.command
    if #command == 0 then
        err.raise { code = "input.missing", op = "secrets.run", msg = "no command was given",
            hint = "Write it after --: dgrun secrets run prod -- COMMAND" }
    end
    local variables = environment.variables(opts.environment)
    local result, e
    effect.write {
        kind = "secrets.run", target = tostring(command[1]), name = "result of the command",
        summary = ("run %s with the secrets of %s"):format(proc.shown(command),
            opts.environment.name),
        apply = function()
            result, e = host.foreground { argv = command, env = variables }
        end,
    }
    if e then
        return not_started(e)
    end
    return result, result and problem(result)
end

return M
