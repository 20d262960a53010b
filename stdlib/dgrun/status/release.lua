-- The newest release on Fly.
local format = require "dgrun.core.format"
local time = require "host.time"

local M = {}

-- Seconds after which a release that is still in progress counts as abandoned.
local LONG = 3600

---@class dgrun.status.release
---@field version integer
---@field status string
---@field user? string
---@field time? number unix seconds
---@field complete? integer version of the newest complete release

local good = { complete = true, succeeded = true }

---@param target dgrun.status.target
---@return dgrun.status.release? # nil before the first one
---@return string[]? problems
function M.ask(target)
    local list = target.releases()
    local newest = list[1]
    if not newest then
        return nil
    end
    local complete
    for _, one in ipairs(list) do
        complete = complete or good[one.status] and one.version or nil
    end
    local facts = {
        version = newest.version, status = newest.status, complete = complete,
        time = time.parse(newest.created_at or ""),
        user = type(newest.user) == "string" and newest.user or nil,
    }
    local problems, age = {}, facts.time and target.now - facts.time or 0
    if newest.in_progress and age > LONG then
        problems[1] = ("v%d has been %s for %s: its deploy was abandoned"):format(newest.version,
            newest.status, format.age(age))
    elseif not newest.in_progress and not good[newest.status] then
        problems[1] = ("v%d is %s%s"):format(newest.version, newest.status,
            complete and ("; the last complete release is v%d"):format(complete) or "")
    end
    return facts, problems
end

return M
