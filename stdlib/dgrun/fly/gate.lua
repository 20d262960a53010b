-- The gate of a deploy: a person's verdict on each machine that was updated, and on the whole at
-- the end. Bad stops the deploy; inconclusive is told, and does not.
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local outcome = require "dgrun.probe.outcome"
local probe = require "dgrun.probe"
local watch = require "dgrun.probe.watch"

local M = {}

---@class dgrun.fly.gate.machine
---@field app string
---@field id string
---@field group string
---@field region string

---@alias dgrun.fly.gate fun(machine?: dgrun.fly.gate.machine): any

local ways = { go_on = true, fail = true }

---Raises when the options of a deploy make no gate.
---@param opts dgrun.fly.deploy.options
function M.check(opts)
    local gate = opts.gate
    if type(gate) == "table" then
        watch.describe(gate)
    elseif gate ~= nil and type(gate) ~= "function" then
        err.raise { code = "input.invalid", op = "fly.deploy",
            msg = ("fly.deploy: gate must be a function or options of probe.watch, not a "
                .. "%s"):format(
                type(gate)) }
    end
    check.known(opts.on_inconclusive or "go_on", ways, "fly.deploy: unknown on_inconclusive",
        "input.invalid")
end

local function about(app, machine)
    return machine and ("machine %s of %s"):format(machine.id, app) or app
end

local function judge(deploy, machine)
    local gate = deploy.gate
    local sample = outcome.of_call(function()
        if type(gate) == "table" then
            return probe.watch(gate)
        end
        return gate(machine)
    end)
    local what = about(deploy.app, machine)
    if sample.outcome == "good" then
        return
    elseif sample.outcome == "unknown" and deploy.on_inconclusive ~= "fail" then
        if not (sample.verdict and sample.verdict.unknown) then -- a watch has told it
            watch.tell_inconclusive(sample.why)
        end
        return effect.note(("the gate of %s is inconclusive; the deploy continues"):format(what))
    end
    local bad = sample.outcome == "bad"
    err.raise {
        code = bad and "fly.gate_bad" or "fly.gate_inconclusive", op = "fly.deploy",
        machine = machine and machine.id, verdict = sample.verdict,
        msg = ("%s is healthy, but %s: %s"):format(what,
            bad and "the gate reports bad" or "the gate is inconclusive", sample.why),
        hint = "Updated machines have the new version. Deploy the previous release or a fixed "
            .. "version.",
    }
end

---The gate as a building block: raises when it says bad. In a plan it counts, and at the end tells.
---@param deploy table of deploy.lua
---@return fun(machine?: dgrun.fly.gate.machine) # without a machine: all are updated
function M.of(deploy)
    local count = 0
    return function(machine)
        if not deploy.gate then
            return
        elseif not deploy.plan then
            return judge(deploy, machine)
        elseif machine then
            count = count + 1
            return
        end
        local what = type(deploy.gate) == "table"
            and "would watch " .. watch.describe(deploy.gate)
            or "would ask the script's gate"
        effect.note(("%s%s"):format(what, count > 0
            and (": after each of %s, and at the end"):format(format.count(count, "machine"))
            or " at the end"))
    end
end

return M
