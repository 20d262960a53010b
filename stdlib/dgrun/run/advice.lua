-- What to do about an error that brings no hint of its own. To run it again does not help where a
-- file is missing, or where a person wrote something wrong.
local err = require "dgrun.core.err"

local M = {}

---Codes of what a script does wrong; what stands below them counts too.
local of_script = { "lua.error", "script", "pipeline", "command.invalid", "run", "task" }

---Codes of a call that got something wrong, in the script or from the command line.
local of_call = { "input", "json" }

---Codes of what was written by hand: a file, a ref, an address.
local of_writing = { "environment", "yaml", "toml", "dotenv", "secrets.missing", "secrets.invalid",
    "fly.config", "fly.invalid_image", "git.unknown_ref", "git.invalid_ref", "git.ambiguous_ref",
    "git.not_a_commit" }

---What the operating system says of a path: the noun before it is that of the call.
local paths = {
    not_found = "Create the missing file, or correct the path%s.",
    denied = "Correct the permissions, or the path%s.",
    exists = "Remove the existing file or folder, or correct the path%s.",
}

---What has to be corrected before it is run again; nil where that is not known. Of an error object,
---or of one as the journal keeps it.
---@param e {code: string, where?: string}
---@return string?
function M.correction(e)
    local at = e.where and " at " .. e.where or ""
    local noun, kind = (e.code or ""):match "^(%l+)%.(%l+_?%l*)$"
    local path = (noun == "fs" or noun == "dotenv" or noun == "proc" or noun == "http")
        and paths[kind]
    if not e.code then
        return nil
    elseif path then
        return path:format(at)
    elseif err.is_any(e, of_script) then
        return ("Correct the script%s."):format(at)
    elseif err.is_any(e, of_call) then
        return ("Correct the call%s or its arguments."):format(at)
    end
    return err.is_any(e, of_writing) and "Correct the values named above." or nil
end

---What to do about an error.
---@param e dgrun.err
---@param again string the command line that does the same
---@param planned boolean it was a plan
---@return string
function M.next_step(e, again, planned)
    if e.hint then
        return e.hint
    end
    return not err.is(e, "cancelled") and M.correction(e)
        or (planned and "After fixing the cause: %s"
            or "After fixing the cause, run it again (completed steps are skipped): %s")
            :format(again)
end

return M
