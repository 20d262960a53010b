-- From the store: who holds and waits for each group, which groups are frozen, the last runs.
local execute = require "dgrun.run.context"
local history = require "dgrun.run.history"
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
function M.group(app)
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
            all.runs[app] = history.list(store, { limit = RUNS, group = M.group(app) })
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
function M.of(list, app)
    local found, group = {}, M.group(app)
    for _, row in ipairs(list) do
        found[#found + 1] = row.name == group and row or nil
    end
    return found
end

return M
