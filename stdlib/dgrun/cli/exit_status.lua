-- The exit status of dgrun after an error.
local err = require "dgrun.core.err"
local host_task = require "host.task"

local M = {}

-- Invalid input from the user: on the command line, as a ref, in a file.
local bad_input = {
    "input", "script.syntax", "pipeline.invalid", "command.invalid", "environment",
    "secrets.missing", "secrets.invalid", "secrets.undeclared_setting", "yaml", "toml", "dotenv",
    "git.unknown_ref", "git.invalid_ref", "git.ambiguous_ref", "git.not_a_commit", "fly.config",
    "fly.invalid_image",
}

---Exit status of an error, by its code.
---@param e dgrun.err
---@return integer
function M.of(e)
    if err.is_any(e, bad_input) then
        return 2
    elseif err.is(e, "refused") or (e.code or ""):match("%.refused$") then
        return 3
    elseif err.is(e, "lock") then
        return 4
    elseif err.is(e, "run.superseded") then
        return 5
    elseif err.is(e, "cancelled") then
        local signal = host_task.signal()
        return signal and 128 + signal or 1
    end
    return 1
end

return M
