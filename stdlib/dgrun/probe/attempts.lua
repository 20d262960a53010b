-- Repeats a probe until it succeeds or times out.
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@class dgrun.probe.one a prepared probe
---@field what string what it probes, for people
---@field try fun(): dgrun.probe.sample

---@class dgrun.probe.sample one attempt
---@field outcome "good"|"bad"|"unknown"
---@field why string
---@field result? table the probe's return value when good

local own = { within = "seconds?", every = "seconds?", consecutive = "integer?" }

local function fail(kind, op, probe, tries)
    local known = tries.last.outcome == "bad"
    err.raise {
        code = known and "probe.failed" or "probe.inconclusive", op = op, attempts = tries.count,
        why = tries.last.why,
        msg = (known and "%s is not as expected after %g s and %s: %s"
            or "the state of %s is still unknown after %g s and %s: %s"):format(
            probe.what, tries.within, format.count(tries.count, "attempt"), tries.last.why),
        hint = known and kind.hint or "The service itself may be fine. Probe it again.",
    }
end

---@param kind table a module of dgrun.probe: its options, prepare
---@param opts table
---@param op string
local function run(kind, opts, op)
    local probe = kind.prepare(opts)
    if effect.planning() then
        effect.note("would probe " .. probe.what)
        return nil
    end
    local now = time.now
    local start, row = now(), 0
    local tries = { count = 0, within = opts.within or 0 }
    while true do
        tries.count = tries.count + 1
        tries.last = probe.try()
        row = tries.last.outcome == "good" and row + 1 or 0
        if row >= (opts.consecutive or 1) then
            break
        end
        local left = tries.within - (now() - start)
        if row == 0 and left <= 0 then
            fail(kind, op, probe, tries)
        end
        local pause = opts.every or 1
        task.sleep(row > 0 and pause or math.min(pause, left))
    end
    effect.note(("%s %s%s"):format(probe.what, tries.last.why,
        row > 1 and (", %d times in a row"):format(row) or ""))
    local result = tries.last.result
    result.seconds, result.attempts = now() - start, tries.count
    return result
end

---@param kind table
---@param opts table
function M.run(kind, opts)
    local op = "probe." .. kind.name
    check.options(opts, tables.merged(kind.options, own), op)
    if opts.consecutive and opts.consecutive < 1 then
        err.raise { code = "input.invalid", op = op,
            msg = ("%s: consecutive must be 1 or more, not %d"):format(op, opts.consecutive) }
    end
    return run(kind, opts, op)
end

return M
