-- Structured concurrency over host.task: a task ends after its children, an error or a cancel in
-- one cancels its siblings, deferred cleanup runs shielded with a deadline of its own.
local host = require "host.task"
local err = require "dgrun.core.err"
local time = require "host.time"

local M = {}

---Seconds that one deferred cleanup may take.
M.cleanup_deadline = 10

---@class dgrun.scope what one task owns
---@field children table[] tasks that must end before it
---@field deferred function[]
---@field failure? any the first error of a child

---@type table<any, dgrun.scope[]> the scopes of each task, innermost last
local scopes = setmetatable({}, { __mode = "k" })

local function pack(...)
    return { n = select("#", ...), ... }
end

local function traced(e)
    if type(e) == "table" then
        return e
    end
    return err.new { code = "lua.error", msg = tostring(e), trace = debug.traceback("", 2) }
end

local function current_scope(verb)
    local stack = scopes[host.current()]
    if not stack or #stack == 0 then
        err.raise { code = "task.no_scope",
            msg = verb .. " must be called inside a dgrun.task scope" }
    end
    return stack[#stack]
end

local function cancel_children(scope)
    for _, child in ipairs(scope.children) do
        child:cancel()
    end
end

---Waits for a child unless this task is cancelled, before or meanwhile.
---@return dgrun.err? cancelled
local function join(child)
    local _, cancelled = host.check()
    if not cancelled then
        child:join()
        _, cancelled = host.check()
    end
    return cancelled
end

---Waits for every child, also when this task is cancelled meanwhile: it waits shielded then, for a
---wait of a cancelled task may raise.
local function join_children(scope)
    local i, cancelled = 1, nil
    while scope.children[i] do
        local child = scope.children[i]
        cancelled = cancelled or join(child)
        if child:status() == "running" then
            scope.failure = scope.failure or cancelled
            cancel_children(scope)
            host.shield(true)
            child:join()
            host.shield(false)
        end
        i = i + 1
    end
end

local function run_deferred(scope)
    host.shield(true)
    local failure
    for i = #scope.deferred, 1, -1 do
        local ok, e = pcall(M.timeout, M.cleanup_deadline, scope.deferred[i])
        if not ok then
            failure = failure or e
        end
    end
    host.shield(false)
    return failure
end

-- A task that goes on waiting whatever happens to its waits is cut off. What its scopes own ends
-- in order all the same.
host.on_abandoned(function(e)
    local stack = scopes[host.current()] or {}
    while #stack > 0 do
        local scope = stack[#stack]
        cancel_children(scope)
        join_children(scope)
        run_deferred(scope)
        stack[#stack] = nil
    end
    error(e, 0)
end)

---Runs `f`; then its children are awaited and its deferred cleanup runs, in reverse order.
---@return any … what `f` returns
function M.scope(f, ...)
    local me = host.current()
    local scope = { children = {}, deferred = {} }
    local stack = scopes[me] or {}
    scopes[me] = stack
    stack[#stack + 1] = scope
    local result = pack(xpcall(f, traced, ...))
    if not result[1] then
        cancel_children(scope)
    end
    join_children(scope)
    local cleanup = #scope.deferred > 0 and run_deferred(scope) or nil
    stack[#stack] = nil
    -- The first error, but a cancel only where nothing else tells why.
    local failure = scope.failure
    if not result[1] and (err.is(failure, "cancelled") or not failure
        or not err.is(result[2], "cancelled")) then
        failure = result[2]
    end
    failure = failure or cleanup
    if failure then
        error(failure, 0)
    end
    return unpack(result, 2, result.n)
end

local function spawn_in(scope, f, name)
    local child
    child = host.spawn(function()
        local result = pack(xpcall(M.scope, traced, f))
        if result[1] then
            return unpack(result, 2, result.n)
        end
        if not (child.cancelled and err.is(result[2], "cancelled")) then
            if not scope.failure then
                scope.failure = result[2]
            end
            cancel_children(scope)
        end
        error(result[2], 0)
    end, { name = name })
    -- A cancel that somebody asked for is no failure of the group.
    local handle = child
    child = { cancelled = false }
    local face = {
        cancel = function()
            child.cancelled = true
            handle:cancel()
        end,
        join = function() return handle:join() end,
        status = function() return handle:status() end,
    }
    scope.children[#scope.children + 1] = face
    return face
end

---Starts a child of the current task.
---@param f function
---@param name? string
---@return table child with :cancel(), :join() → true, … | nil, err
function M.spawn(f, name)
    return spawn_in(current_scope("task.spawn"), f, name)
end

---Runs `f` when the current task ends, however it ends.
function M.defer(f)
    local scope = current_scope("task.defer")
    scope.deferred[#scope.deferred + 1] = f
end

---@param seconds number
function M.sleep(seconds)
    local ok, e = time.sleep(seconds)
    if not ok then
        err.raise(e)
    end
end

---Raises `cancelled` if this task was cancelled.
function M.checkpoint()
    local ok, e = host.check()
    if not ok then
        err.raise(e)
    end
end

---Runs all functions at once; returns their first results in order.
---@param functions function[]
---@return any[]
function M.all(functions)
    local results = {}
    M.scope(function()
        for i, f in ipairs(functions) do
            M.spawn(function() results[i] = f() end, "all." .. i)
        end
    end)
    return results
end

---Maps a list, at most `limit` at a time.
---@param list any[]
---@param opts {limit?: integer}
---@param f fun(item: any, index: integer): any
---@return any[]
function M.map(list, opts, f)
    local results, at = {}, 0
    local workers = {}
    for w = 1, math.min(opts.limit or #list, #list) do
        workers[w] = function()
            while at < #list do
                at = at + 1
                local index = at
                results[index] = f(list[index], index)
            end
        end
    end
    M.all(workers)
    return results
end

---The result of the function that ends first; the others are cancelled.
---@param functions function[]
---@return any …
function M.race(functions)
    local winner
    M.scope(function()
        local children = {}
        for i, f in ipairs(functions) do
            children[i] = M.spawn(function()
                local result = pack(xpcall(f, traced))
                if winner then
                    return
                end
                winner = result
                for j, other in ipairs(children) do
                    if j ~= i then
                        other:cancel()
                    end
                end
            end, "race." .. i)
        end
    end)
    if not winner[1] then
        error(winner[2], 0)
    end
    return unpack(winner, 2, winner.n)
end

---Runs `f`, cancelled with the error `timeout` when it takes longer.
---@param seconds number
---@param f function
---@return any … what `f` returns
function M.timeout(seconds, f)
    return M.race {
        f,
        function()
            M.sleep(seconds)
            err.raise { code = "timeout", msg = ("not done within %g s"):format(seconds) }
        end,
    }
end

---Runs `f` out of reach of a cancel.
---@return any … what `f` returns
function M.shield(f, ...)
    host.shield(true)
    local result = pack(pcall(f, ...))
    host.shield(false)
    if not result[1] then
        error(result[2], 0)
    end
    return unpack(result, 2, result.n)
end

return M
