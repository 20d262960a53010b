-- Which sessions keep a migration waiting for a lock. pg_stat_activity and pg_blocking_pids():
-- https://www.postgresql.org/docs/current/monitoring-stats.html
local host_task = require "host.task"
local task = require "dgrun.core.task"

local M = {}

---Seconds between two looks.
M.every = 1

local QUERY = [[
SELECT DISTINCT b.pid, b.usename AS "user", b.application_name AS application, b.state,
    left(regexp_replace(b.query, '\s+', ' ', 'g'), 120) AS query,
    round(extract(epoch FROM clock_timestamp() - coalesce(b.xact_start, b.query_start))) AS seconds
FROM pg_stat_activity w
CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p(pid)
JOIN pg_stat_activity b ON b.pid = p.pid
WHERE w.application_name = $1
ORDER BY b.pid]]

---@class dgrun.migrations.blocker
---@field pid string
---@field user? string
---@field application? string
---@field state? string
---@field query? string
---@field seconds? string since when its transaction goes on

---@param blocker dgrun.migrations.blocker
---@return string
function M.describe(blocker)
    local application = blocker.application ~= "" and blocker.application or "no name"
    return ("pid %s (%s, user %s), %s, in its transaction for %s s: %s"):format(blocker.pid,
        application, blocker.user or "?", blocker.state or "?", blocker.seconds or "?",
        blocker.query or "?")
end

local function look_on(url, application, seen, tell)
    local connection = require("host.postgres").connect { url = url, read_only = true }
    if not connection then
        return
    end
    local told = {}
    while true do
        local rows = connection:query(QUERY, { application })
        if not rows then
            return
        end
        for _, row in ipairs(rows) do
            seen[row.pid] = row
            if not told[row.pid] then
                told[row.pid] = true
                tell("waiting for a lock held by " .. M.describe(row))
            end
        end
        task.sleep(M.every)
    end
end

---Looks on while `f` runs.
---@generic T
---@param opts {url: userdata, application: string, tell: fun(text: string)}
---@param f fun(): T
---@return dgrun.migrations.blocker[] seen
---@return T …
function M.watch(opts, f)
    local seen = {}
    local watcher = host_task.spawn(function()
        task.sleep(M.every)
        look_on(opts.url, opts.application, seen, opts.tell)
    end, { name = "blockers", daemon = true })
    local result = { pcall(f) }
    watcher:cancel()
    watcher:join()
    if not result[1] then
        error(result[2], 0)
    end
    local list = {}
    for _, row in pairs(seen) do
        list[#list + 1] = row
    end
    table.sort(list, function(a, b) return tonumber(a.pid) < tonumber(b.pid) end)
    return list, unpack(result, 2)
end

return M
