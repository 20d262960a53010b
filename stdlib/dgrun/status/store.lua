-- What the store knows about an app: who holds and waits for its group, whether the group is
-- frozen, its last runs.
local execute = require "dgrun.run.context"
local history = require "dgrun.run.history"
local json = require "dgrun.core.json"
local lease = require "dgrun.run.lock"
local store_of = require "dgrun.run.store"
local tickets = require "dgrun.run.tickets"

local M = {}

local RUNS = 5

---@class dgrun.status.history
---@field tickets dgrun.store.ticket[] by group, the holder first
---@field holds table[]
---@field runs table<string, table[]> by app, newest first

---The group of an app: a pipeline that deploys the app takes the group of the same name.
---@param app string
---@return string
local function group_of(app)
    local run = execute.current()
    return lease.group(app, run and run.sandbox)
end

---@param root string
---@param apps string[]
---@return dgrun.status.history
function M.read(root, apps)
    local run = execute.current()
    local store = store_of.open(root, { read_only = true, sandbox = run and run.sandbox })
    local ok, found = pcall(function()
        local all = { tickets = tickets.list(store), holds = tickets.holds(store), runs = {} }
        for _, app in ipairs(apps) do
            all.runs[app] = history.list(store, { limit = RUNS, group = group_of(app) })
        end
        return all
    end)
    store:close()
    if not ok then
        error(found, 0)
    end
    return found
end

---The rows of a list that belong to an app.
---@param list {name: string}[]
---@param app string
local function of_app(list, app)
    local found, group = {}, group_of(app)
    for _, row in ipairs(list) do
        found[#found + 1] = row.name == group and row or nil
    end
    return found
end

---@class dgrun.status.lease
---@field tickets table[] the holder, then the waiting runs in order
---@field holds table[] holds that freeze the group

---Who holds the group of the app, who waits for it, and whether it is frozen.
---@param target dgrun.status.target
---@return dgrun.status.lease? # nil when the group is free
---@return string[]? problems
function M.lease(target)
    local all = target.history()
    local rows, holds = of_app(all.tickets, target.app), of_app(all.holds, target.app)
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

local bad = { failed = true, killed = true }

---The last runs that took the group of the app.
---@param target dgrun.status.target
---@return table[]? # newest first; nil when the store has no runs
---@return string[]? problems
function M.runs(target)
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
