-- The newest release, as Fly has it.
local format = require "dgrun.core.format"
local time = require "host.time"

local M = {}

-- A deploy that takes longer than this is not one that goes on.
local LONG = 3600

---@class dgrun.status.release
---@field version integer
---@field status string
---@field user? string
---@field time? number unix seconds
---@field complete? integer version of the newest that came to its end

local good = { complete = true, succeeded = true }

---@param place dgrun.status.place
---@return dgrun.status.release? # nil before the first one
---@return string[]? problems
function M.ask(place)
    local list = place.releases()
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
    local problems, age = {}, facts.time and place.now - facts.time or 0
    if newest.in_progress and age > LONG then
        problems[1] = ("v%d is %s since %s: a deploy was given up"):format(newest.version,
            newest.status, format.age(age))
    elseif not newest.in_progress and not good[newest.status] then
        problems[1] = ("v%d is %s%s"):format(newest.version, newest.status,
            complete and ("; v%d was the last to be complete"):format(complete) or "")
    end
    return facts, problems
end

return M
