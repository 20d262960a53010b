-- Fly's rate limits: docs/fly/machines-api.md, section 3. Each action of each machine (or app) has
-- a bucket that fills by the sandbox's clock.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"

local M = {}

local usual = { rate = 1, burst = 3 }
local reading_a_machine = { rate = 5, burst = 10 }
local deleting_apps = { rate = 100 / 60, burst = 100 }

local BUCKETS_KEPT = 10000

local function limit_of(route)
    if route.module == "machines" and route.action == "get" then
        return reading_a_machine
    elseif route.module == "apps" and route.action == "delete" then
        return deleting_apps, ""
    end
    return usual
end

---Refuses a call that comes too soon.
function M.check(world, route, parameters)
    if not world.rate_limit or route.pattern:sub(1, 5) ~= "^/v1/" then
        return
    end
    local limit, whose = limit_of(route)
    local key = ("%s %s %s"):format(route.method, route.pattern,
        whose or parameters.id or parameters.app or "")
    local now = clock.now(world)
    if world.bucket_count > BUCKETS_KEPT then
        world.buckets, world.bucket_count = {}, 0
    end
    local bucket = world.buckets[key]
    if not bucket then
        bucket = { level = limit.burst, at = now }
        world.buckets[key] = bucket
        world.bucket_count = world.bucket_count + 1
    end
    bucket.level = math.min(limit.burst, bucket.level + (now - bucket.at) * limit.rate)
    bucket.at = now
    if bucket.level < 1 then
        answer.fail_with(429, "rate limit exceeded",
            { ["Retry-After"] = tostring(math.ceil((1 - bucket.level) / limit.rate)) })
    end
    bucket.level = bucket.level - 1
end

return M
