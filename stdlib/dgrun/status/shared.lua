-- Facts that several sources need are requested once, at the start: the machines of each app, the
-- repository, the history of runs. Each source waits for the shared response.
local commit_reader = require("dgrun.fly.commit").reader
local err = require "dgrun.core.err"
local execute = require "dgrun.run.context"
local format = require "dgrun.core.format"
local host_task = require "host.task"
local machine_view = require "dgrun.fly.machine_view"
local machines = require "dgrun.fly.machines"
local releases = require "dgrun.fly.releases"
local repository_of = require "dgrun.status.repository"
local secrets = require "dgrun.secrets"
local store = require "dgrun.status.store"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@class dgrun.status.target the target that sources query
---@field app string
---@field name string
---@field environment? dgrun.environment
---@field database string
---@field all dgrun.status.target[] all targets of this status, including this target
---@field now number unix seconds
---@field left fun(): number seconds until the timeout
---@field repository dgrun.status.repository
---@field machines fun(): table[] of the app, as the API returns them
---@field releases fun(): table[] the latest releases, newest first
---@field secrets fun(): {name: string}[]
---@field commit_of fun(machine: table): string? of fly.commit
---@field files fun(): string? folder with the files of the deployed commit
---@field history fun(): dgrun.status.history

local DEFAULT_TIMEOUT = 10
local RELEASES = 10

---Runs `f`, until the timeout.
local function within(clock, f)
    local ok, first, second = pcall(task.timeout, math.max(0.001, clock.left()), f)
    if ok then
        return first, second
    elseif err.is(first, "timeout") and clock.left() <= 0 then
        err.raise { code = "status.no_answer", op = "status",
            msg = ("no response within %s"):format(format.duration(clock.timeout)) }
    end
    error(first, 0)
end

---@generic T
---@param f fun(...): T
---@return T? # nil when it raised
---@return dgrun.err? # what it raised; `cancelled` is raised again
function M.attempt(f, ...)
    local ok, result = pcall(f, ...)
    if ok then
        return result
    elseif err.is(result, "cancelled") then
        err.raise(result)
    end
    return nil, err.object(result)
end

---Starts `f`, as a child of the current task.
---@param later? boolean start after the tasks that are starting now
---@return fun(): any # waits for what it returns, or raises what it raised
local function started(clock, name, f, later)
    local result
    local child = task.spawn(function()
        if later then
            time.sleep(0)
        end
        result = { pcall(within, clock, f) }
    end, name)
    return function()
        -- After its first turn this returns immediately.
        child.join()
        local ok, e = host_task.check()
        if not ok then
            err.raise(e)
        elseif not result then
            err.raise { code = "cancelled", op = "status", msg = "cancelled" }
        elseif not result[1] then
            error(result[2], 0)
        end
        return result[2]
    end
end

---The requests to Fly, one call each; no request depends on another.
local asked_of_fly = {
    machines = function(app) return machines.list(app, { include_leases = "true" }) end,
    releases = function(app) return releases.list(app, RELEASES) end,
    secrets = function(app) return secrets.list { app = app } end,
}

---Reports an app that Fly does not know as an unknown app.
local function of_app(app, ask)
    local ok, result = pcall(ask, app)
    if ok then
        return result
    elseif err.is(result, "fly.not_found") then
        machines.app(app)
    end
    error(result, 0)
end

---The commits of the machines that deploys manage, the most frequent commit first.
---@param list table[] machines as the API returns them
---@param commit_of fun(machine: table): string? of fly.commit
---@return {commit: string, machines: integer}[]
---@return integer unsaid machines that do not report a commit
function M.running(list, commit_of)
    local found, by_commit, unsaid = {}, {}, 0
    for _, machine in ipairs(machine_view.overview(list, commit_of)) do
        local commit = machine.commit
        if machine.kind == "web" and not commit then
            unsaid = unsaid + 1
        elseif machine.kind == "web" then
            by_commit[commit] = by_commit[commit] or { commit = commit, machines = 0 }
            by_commit[commit].machines = by_commit[commit].machines + 1
        end
    end
    for _, one in pairs(by_commit) do
        found[#found + 1] = one
    end
    table.sort(found, function(a, b)
        return a.machines > b.machines or a.machines == b.machines and a.commit < b.commit
    end)
    return found, unsaid
end

local function target_of(given, x)
    local target = {
        name = given.name, app = given.app, environment = given.environment,
        database = x.database, now = x.now, left = x.clock.left, repository = x.repository,
        commit_of = commit_reader(given.app), history = x.history, all = x.targets,
        within = function(f) return within(x.clock, f) end,
    }
    for name, ask in pairs(asked_of_fly) do
        target[name] = started(x.clock, name, function() return of_app(given.app, ask) end)
    end
    target.files = started(x.clock, "files", function()
        local running = M.running(target.machines(), target.commit_of)[1]
        return running and x.repository.files(running.commit)
    end)
    return target
end

---@param opts dgrun.status.options
---@return dgrun.status.target[]
function M.targets(opts)
    local timeout = opts.timeout or DEFAULT_TIMEOUT
    local deadline = time.now() + timeout
    local x = {
        database = opts.database or "DATABASE_URL", now = time.wall(), targets = {},
        clock = { timeout = timeout, left = function() return deadline - time.now() end },
    }
    local run = execute.current()
    local root = run and run.root or "."
    -- Starting a process blocks the loop, so network requests are sent first.
    local function start(name, f)
        return started(x.clock, name, f, true)
    end
    x.repository = repository_of.open(root, opts.branch or "main", start)
    task.defer(x.repository.close)
    local apps = {}
    for i, target in ipairs(opts.targets) do
        apps[i] = target.app
    end
    x.history = start("history", function()
        return store.read(root, apps)
    end)
    for i, given in ipairs(opts.targets) do
        x.targets[i] = target_of(given, x)
    end
    return x.targets
end

return M
