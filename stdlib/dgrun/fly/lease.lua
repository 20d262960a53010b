-- Leases of machines around changes: docs/fly/deploy.md, section 9.
local api = require "dgrun.fly.api"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local retry = require "dgrun.fly.retry"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

M.ttl = 13
M.acquire_within = 60

local function path(app, id)
    return api.path("/v1/apps/%s/machines/%s/lease", app, id)
end

local function acquire_once(app, id)
    return pcall(api.machines, "POST", path(app, id), { query = { ttl = M.ttl }, once = true })
end

---Takes the lease of a machine, waiting for one that somebody else holds. An answer that was lost
---may have taken it: then it is free when that lease has run out.
---@param app string
---@param id string
---@return string nonce
function M.acquire(app, id)
    local deadline = time.now() + M.acquire_within
    local told, unanswered
    while true do
        local ok, answer = acquire_once(app, id)
        if ok then
            return answer.data.nonce
        end
        unanswered = retry.is_ambiguous(answer) and answer or unanswered
        if not (err.is(answer, "fly.lease_held") or retry.is_ambiguous(answer))
            or time.now() >= deadline then
            if unanswered ~= answer then
                -- The holder may be this run: an answer that gave it the lease was lost.
                answer.cause = answer.cause or unanswered
            end
            err.raise(answer)
        elseif answer.holder and not told then
            told = true
            effect.note(("machine %s is held by %s; waiting"):format(id, answer.holder))
        end
        task.sleep(api.pace(1) * (0.5 + math.random()))
    end
end

---Keeps a lease alive until it is cancelled, or somebody else has it.
local function refresh(app, id, held, lost)
    while true do
        task.sleep((M.ttl - 1) / 3)
        local ok, answer = pcall(api.machines, "POST", path(app, id),
            { query = { ttl = M.ttl }, nonce = held[id], repeatable = true })
        if ok then
            held[id] = answer.data.nonce
        elseif err.is(answer, "cancelled") then
            err.raise(answer)
        elseif err.is(answer, "fly.lease_lost") then
            answer.msg = ("this run lost the lease of machine %s; now %s holds it"):format(id,
                answer.holder or "someone else")
            answer.machine = id
            lost[id] = answer
            return
        elseif err.is(answer, "fly.not_found") then
            return
        end
    end
end

---A lease that nobody releases runs out by itself.
local function release(app, id, nonce)
    pcall(api.machines, "DELETE", path(app, id), { nonce = nonce, ok = { [404] = true } })
end

---The nonces for whoever changes machines: asking for that of a lost lease raises.
local function guarded(held, lost)
    return setmetatable({}, { __index = function(_, id)
        if lost[id] then
            err.raise(lost[id])
        end
        return held[id]
    end })
end

---Holds the leases of machines while `f` runs.
---@generic T
---@param app string
---@param ids string[]
---@param f fun(nonces: table<string, string>): T
---@return T
function M.with(app, ids, f)
    local held, lost = {}, {}
    return task.scope(function()
        task.defer(function()
            task.map(ids, {}, function(id)
                if held[id] and not lost[id] then
                    release(app, id, held[id])
                end
            end)
        end)
        task.map(ids, {}, function(id) held[id] = M.acquire(app, id) end)
        local keepers = {}
        for i, id in ipairs(ids) do
            keepers[i] = task.spawn(function() refresh(app, id, held, lost) end, "lease " .. id)
        end
        local ok, result = pcall(f, guarded(held, lost))
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
