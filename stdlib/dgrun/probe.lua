-- Probes: does it answer as it should? They read only.
local check = require "dgrun.check"
local err = require "dgrun.err"
local effect = require "dgrun.effect"
local task = require "dgrun.task"

local M = {}

local options = {
    url = "string", expect = "integer?", within = "seconds?", every = "seconds?",
    timeout = "seconds?", body = "string?", headers = "table?",
}

---What is wrong with an answer, or nil.
local function complaint(answer, e, opts)
    if not answer then
        return e.msg
    end
    local expected = opts.expect or 200
    if answer.status ~= expected then
        return ("answered %d, not %d"):format(answer.status, expected)
    end
    if opts.body and not answer.body:find(opts.body, 1, true) then
        return ("answered %d, but its body lacks %q"):format(answer.status, opts.body)
    end
end

---@class dgrun.probe.http
---@field url string
---@field expect? integer the status, 200
---@field within? number seconds for all tries; 0 is one try
---@field every? number seconds between tries, 1
---@field timeout? number seconds of one request, 5
---@field body? string a plain substring of the body
---@field headers? table

---Asks until the answer is right, or the time is over.
---@param opts dgrun.probe.http
---@return {status: integer, seconds: number, attempts: integer}? # nil in a plan
function M.http(opts)
    check.options(opts, options, "probe.http")
    if effect.planning() then
        effect.note("would probe " .. opts.url)
        return nil
    end
    local time = require "host.time"
    local within = opts.within or 0
    local start = time.now()
    local attempts = 0
    local wrong
    repeat
        attempts = attempts + 1
        local answer, e = require("host.http").request {
            url = require("dgrun.http").route(opts.url), headers = opts.headers,
            timeout = opts.timeout or 5, connect_timeout = opts.timeout or 5,
        }
        if not answer and err.is(e, "cancelled") then
            err.raise(e)
        end
        wrong = complaint(answer, e, opts)
        if not wrong then
            local seconds = time.now() - start
            effect.note(("%s answered %d"):format(opts.url, answer.status))
            return { status = answer.status, seconds = seconds, attempts = attempts }
        end
        local left = within - (time.now() - start)
        if left > 0 then
            task.sleep(math.min(opts.every or 1, left))
        end
    until left <= 0
    err.raise {
        code = "probe.failed", op = "probe.http", url = opts.url, attempts = attempts,
        why = wrong,
        msg = ("%s is not as expected after %g s and %d attempt(s): %s"):format(
            opts.url, within, attempts, wrong),
        hint = "The deploy itself is done. Look at the app's logs, then run again or roll back.",
    }
end

return M
