-- Whether the site responds, and as its probes expect.
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local probe = require "dgrun.probe"
local shared = require "dgrun.status.shared"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"

local M = {}

---Seconds for one request: after a request without a response, the control address is tried.
M.patience = 4

---@class dgrun.status.probe
---@field path string
---@field good? boolean nil when the prober itself has no network
---@field why? string what is wrong
---@field status? integer
---@field seconds? number

local function ask_one(target, one)
    local url = target.environment.url:gsub("/+$", "")
    local found = { path = one.url:sub(#url + 1) }
    local opts = tables.merged(one)
    local spare = math.max(0, target.left() - M.patience)
    -- A hanging site must be reported as not responding, not as unknown.
    opts.timeout = math.min(M.patience, math.max(0.001, target.left() * 0.9))
    opts.within = math.min(one.within or 0, spare)
    local answer, e = shared.attempt(probe.http, opts)
    if answer then
        found.good, found.status, found.seconds = true, answer.status, answer.seconds
    else
        if not err.is(e, "probe.inconclusive") then
            found.good = false
        end
        found.why = e.why or e.msg
    end
    return found
end

---@param target dgrun.status.target
---@return dgrun.status.probe[]? # nil when there are no probes
---@return string[]? problems
function M.site(target)
    local env = target.environment
    if not env or #env.probes == 0 or effect.planning() then
        return nil
    end
    local list = task.map(env.probes, {}, function(one) return ask_one(target, one) end)
    local problems = {}
    for _, one in ipairs(list) do
        if one.good == false then
            -- curl's message already contains the address.
            problems[#problems + 1] = one.why:find(one.path, 1, true) and one.why
                or ("%s %s"):format(one.path, one.why)
        end
    end
    return json.array(list), problems
end

return M
