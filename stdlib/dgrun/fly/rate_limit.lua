-- Fly limits calls of the Machines API for each action and machine: 1/s with bursts of 3, reading
-- a machine 5/s with bursts of 10 (docs/fly/machines-api.md, section 3). Waiting before a call is
-- kinder than being refused.
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

local READ = { rate = 5, burst = 10 }
local OTHER = { rate = 1, burst = 3 }

---@type table<string, {tokens: number, at: number}>
local buckets = {}

---What a call counts for: the action, and the machine or app it acts on.
---@return string key
---@return {rate: number, burst: number} limit
function M.limit(method, path)
    path = path:gsub("%?.*$", "")
    local app, id, verb = path:match("^/v1/apps/([^/]+)/machines/([^/]+)/?(.*)$")
    if not id then
        return method .. " " .. path, OTHER
    end
    local limit = method == "GET" and verb == "" and READ or OTHER
    return ("%s %s/%s %s"):format(method, app, id, verb), limit
end

---Seconds to wait before this call, which is counted.
---@param now number
---@return number
function M.take(method, path, now)
    local key, limit = M.limit(method, path)
    local bucket = buckets[key] or { tokens = limit.burst, at = now }
    buckets[key] = bucket
    bucket.tokens = math.min(limit.burst, bucket.tokens + (now - bucket.at) * limit.rate)
    bucket.at = now
    bucket.tokens = bucket.tokens - 1
    return bucket.tokens >= 0 and 0 or -bucket.tokens / limit.rate
end

---@param method string
---@param path string
function M.wait(method, path)
    local seconds = M.take(method, path, time.now())
    if seconds > 0 then
        task.sleep(seconds)
    end
end

return M
