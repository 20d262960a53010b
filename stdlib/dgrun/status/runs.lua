-- The last runs that took the group of the app.
local history = require "dgrun.run.history"
local json = require "dgrun.core.json"

local M = {}

local bad = { failed = true, killed = true }

---@param target dgrun.status.target
---@return table[]? # newest first; nil when the store has no runs
---@return string[]? problems
function M.ask(target)
    local rows = target.history().runs[target.app]
    local newest = rows[1]
    if not newest then
        return nil
    end
    local list, problems = json.array {}, {}
    for i, row in ipairs(rows) do
        list[i] = history.run_data(row)
    end
    if bad[newest.status] then
        local step = newest.error and newest.error.step
        problems[1] = ("%s %s%s: dgrun show %s"):format(newest.name, newest.status == "killed"
            and "was killed" or "failed", step and " at step " .. step or "", newest.id)
    end
    return list, problems
end

return M
