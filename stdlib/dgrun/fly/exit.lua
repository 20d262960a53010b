-- How a command on a machine ended, as the error and the exit status of dgrun.
local err = require "dgrun.core.err"
local unknown = require "dgrun.core.unknown"

local M = {}

---nil when the command ended well. Its exit code is that of dgrun, as ssh does it: what runs a
---command somewhere else is used in place of the command.
---@param exit {exit_code?: integer, exit_signal?: integer, oom_killed?: boolean}
---@return dgrun.err?
function M.problem(exit)
    local code, signal = exit.exit_code or 0, exit.exit_signal or 0
    if unknown.is(code) or code == 0 and signal <= 0 then
        return nil
    elseif signal > 0 then
        return err.new { code = "command.failed", exit_status = 128 + signal,
            msg = ("the command was ended by signal %d"):format(signal) }
    end
    return err.new {
        code = "command.failed", exit_status = code > 0 and code < 256 and code or 1,
        msg = code < 0 and "the command has ended; its exit code is unknown"
            or ("the command exited with code %d%s"):format(code,
                exit.oom_killed and ", out of memory" or ""),
    }
end

return M
