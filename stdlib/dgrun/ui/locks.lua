-- Who holds each group, which runs wait for it, and which groups are frozen, as text.
local lease = require "dgrun.run.lock"

local M = {}

---@param rows dgrun.store.ticket[] by group, the holder first
---@param holds table[]
---@return string
function M.text(rows, holds)
    local lines = {}
    for _, hold in ipairs(holds) do
        lines[#lines + 1] = lease.describe_hold(hold)
        lines[#lines + 1] = ("  Ask %s. To release the hold: dgrun lock release %s"):format(
            hold.who or "them", hold.name)
    end
    for _, row in ipairs(rows) do
        if row.state == "holding" then
            lines[#lines + 1] = ("%s is held by %s"):format(row.name, lease.describe(row))
        else
            lines[#lines + 1] = ("queued for %s: %s"):format(row.name, lease.describe(row))
        end
        if row.left <= 0 then
            lines[#lines + 1] = "  The holder is not responding; the next run will take over."
        end
    end
    if #lines == 0 then
        return "No locks are held, and no runs are waiting.\n"
    end
    return table.concat(lines, "\n") .. "\n"
end

return M
