-- A command inside a machine that is up.
local api = require "dgrun.fly.api"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local proc = require "dgrun.proc"

local M = {}

local DEFAULT_SECONDS = 30

local function refuse(code, msg, hint)
    err.raise { code = code, op = "fly.machines.exec", msg = msg, hint = hint }
end

---@param opts {app: string, id: string, command: string[], timeout?: number}
---@param machine table as the API shows it
---@return {exit_code: integer, exit_signal: integer, stdout: string, stderr: string}
function M.run(opts, machine)
    if #opts.command == 0 then
        refuse("input.missing", "no command to run",
            "Write the command after --: dgrun machines exec prod ID -- ls -l")
    elseif machine.state ~= "started" then
        refuse("fly.not_started", ("machine %s of %s is %s"):format(opts.id, opts.app,
            machine.state), "Start it first: " .. api.command "machines start" .. ".")
    end
    local timeout, answer = opts.timeout or DEFAULT_SECONDS, nil
    local result = effect.write {
        kind = "fly.machine.exec", target = opts.app .. "/" .. opts.id, name = "command",
        summary = ("run %s in machine %s of %s"):format(
            proc.shown(opts.command), opts.id, opts.app),
        apply = function()
            -- Once: nobody knows whether doing it twice equals doing it once.
            answer = api.machines("POST", ("/v1/apps/%s/machines/%s/exec"):format(opts.app,
                opts.id), {
                json = { command = json.array { unpack(opts.command) },
                    timeout = timeout },
                timeout = timeout + 15, once = true,
            })
            -- What it wrote may be secret; the journal does not keep it.
            return { exit_code = answer.exit_code, exit_signal = answer.exit_signal }
        end,
    }
    return answer or result
end

return M
