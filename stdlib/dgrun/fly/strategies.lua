-- How a deploy goes through the machines. A strategy is a function over the building blocks of a
-- deploy: deploy.updates (sorted by id), deploy.update(change), deploy.max_unavailable, so that a
-- team can write its own. Rules: deploy.md section 10.
local task = require "dgrun.task"

local M = {}

local function by_group(updates)
    local groups, names = {}, {}
    for _, change in ipairs(updates) do
        if not groups[change.group] then
            groups[change.group] = {}
            names[#names + 1] = change.group
        end
        table.insert(groups[change.group], change)
    end
    return groups, names
end

---The first one alone; only if it is good the rest, at most `pool` at a time.
local function first_then_rest(list, pool, update)
    if #list == 0 then
        return
    end
    update(list[1])
    task.map({ unpack(list, 2) }, { limit = pool }, update)
end

local function pool_size(max_unavailable, count)
    if max_unavailable >= 1 then
        return math.floor(max_unavailable)
    end
    return math.max(1, math.ceil(count * max_unavailable))
end

---@class dgrun.fly.deploy.blocks
---@field updates dgrun.fly.change[] sorted by machine id
---@field max_unavailable number below 1 a fraction, else a count
---@field update fun(change: dgrun.fly.change) updates one machine and waits until it is good
---@field update_only fun(change: dgrun.fly.change) does not wait

---@param deploy dgrun.fly.deploy.blocks
function M.rolling(deploy)
    local groups, names = by_group(deploy.updates)
    local jobs = {}
    for _, name in ipairs(names) do
        local cold, warm = {}, {}
        for _, change in ipairs(groups[name]) do
            table.insert(change.machine.state == "started" and warm or cold, change)
        end
        jobs[#jobs + 1] = function() first_then_rest(cold, math.min(30, #cold), deploy.update) end
        jobs[#jobs + 1] = function()
            first_then_rest(warm, pool_size(deploy.max_unavailable, #warm), deploy.update)
        end
    end
    task.all(jobs)
end

---All at once, without waiting for any.
---@param deploy dgrun.fly.deploy.blocks
function M.immediate(deploy)
    task.map(deploy.updates, { limit = 8 }, deploy.update_only)
end

return M
