-- Who holds the app's group, who waits for it, and whether it is frozen.
local history = require "dgrun.status.history"
local lease = require "dgrun.run.lock"
local tickets = require "dgrun.run.tickets"

local M = {}

---@class dgrun.status.lease
---@field tickets table[] the holder, then the waiting runs in order
---@field holds table[] holds that freeze the group

---@param target dgrun.status.target
---@return dgrun.status.lease? # nil when the group is free
---@return string[]? problems
function M.ask(target)
    local all = target.history()
    local rows, holds = history.of(all.tickets, target.app), history.of(all.holds, target.app)
    local problems = {}
    for _, hold in ipairs(holds) do
        problems[#problems + 1] = lease.describe_hold(hold)
    end
    for _, row in ipairs(rows) do
        if row.left <= 0 then
            problems[#problems + 1] = ("%s is not responding"):format(row.run)
        end
    end
    if #rows == 0 and #holds == 0 then
        return nil
    end
    return tickets.data(rows, holds), problems
end

return M
