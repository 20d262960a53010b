-- Leases of machines around changes: deploy.md section 9.
local api = require "dgrun.fly.api"
local err = require "dgrun.err"
local task = require "dgrun.task"

local M = {}

M.ttl = 13
M.acquire_within = 60

local function path(app, id)
    return ("/v1/apps/%s/machines/%s/lease"):format(app, id)
end

---@param app string
---@param id string
---@return string nonce
function M.acquire(app, id)
    local time = require "host.time"
    local deadline = time.now() + M.acquire_within
    while true do
        local ok, answer = pcall(api.machines, "POST", path(app, id), { query = { ttl = M.ttl } })
        if ok then
            return answer.data.nonce
        elseif not err.is(answer, "fly.lease_held") or time.now() >= deadline then
            err.raise(answer)
        end
        task.sleep(api.pace(1))
    end
end

local function refresh(app, id, nonce)
    while true do
        task.sleep((M.ttl - 1) / 3)
        local ok, e = pcall(api.machines, "POST", path(app, id),
            { query = { ttl = M.ttl }, nonce = nonce })
        if err.is(e, "cancelled") then
            err.raise(e)
        elseif not ok and err.is(e, "fly.not_found") then
            return
        end
    end
end

---A lease that nobody releases runs out by itself.
local function release(app, id, nonce)
    pcall(api.machines, "DELETE", path(app, id), { nonce = nonce, ok = { [404] = true } })
end

---Holds the leases of machines while `f` runs.
---@generic T
---@param app string
---@param ids string[]
---@param f fun(nonces: table<string, string>): T
---@return T
function M.with(app, ids, f)
    local nonces = {}
    return task.scope(function()
        task.defer(function()
            task.map(ids, {}, function(id)
                if nonces[id] then
                    release(app, id, nonces[id])
                end
            end)
        end)
        task.map(ids, {}, function(id) nonces[id] = M.acquire(app, id) end)
        local keepers = {}
        for i, id in ipairs(ids) do
            keepers[i] = task.spawn(function() refresh(app, id, nonces[id]) end, "lease " .. id)
        end
        local ok, result = pcall(f, nonces)
        for _, keeper in ipairs(keepers) do
            keeper.cancel()
        end
        if not ok then
            error(result, 0)
        end
        return result
    end)
end

return M
