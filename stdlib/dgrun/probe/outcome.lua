-- The outcome of a user-supplied function, which returns or raises: good, bad, or unknown.
local control = require "dgrun.probe.control"
local err = require "dgrun.core.err"

local M = {}

local outcomes = { good = "good", bad = "bad", inconclusive = "unknown", unknown = "unknown" }

---Errors of Fly's API: the outcome is unknown.
local silent = { ["fly.unreachable"] = true, ["fly.timeout"] = true, ["fly.server"] = true }

---Whether an error is a mistake in the function itself, or ends the task.
local function is_own(e)
    return not err.is_object(e) or e.code == "lua.error" or err.is(e, "cancelled")
        or err.is(e, "input") or err.is(e, "run") or err.is(e, "lock") or err.is(e, "plan")
end

local function of_error(e)
    if is_own(e) then
        error(e, 0)
    elseif silent[e.code] or err.is(e, "probe.inconclusive") then
        return { outcome = "unknown", why = e.msg }
    elseif err.is(e, "http") then
        local unknown = control.why_unknown(e, "", nil)
        return { outcome = unknown and "unknown" or "bad", why = unknown or e.msg }
    end
    return { outcome = "bad", why = e.msg }
end

local function of_value(value, why)
    if type(value) == "table" and outcomes[value.outcome] then
        return { outcome = outcomes[value.outcome], why = value.why or value.outcome,
            verdict = value }
    elseif value == false then
        return { outcome = "bad", why = tostring(why or "no reason given") }
    elseif value == "unknown" then
        return { outcome = "unknown", why = tostring(why or "no reason given") }
    end
    return { outcome = "good", why = "good" }
end

---Calls `f`. An external error is bad, unless it means that nothing could be reached; false is bad,
---"unknown" is unknown, a verdict stands for itself; anything else is good. A mistake in `f` is
---raised.
---@param f fun(...): any, string?
---@return dgrun.probe.sample
function M.of_call(f, ...)
    local ok, value, why = pcall(f, ...)
    if not ok then
        return of_error(value)
    end
    return of_value(value, why)
end

return M
