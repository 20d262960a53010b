-- One execution of a script: its id, its private folder, its steps, and what it did.
-- A run tells its story twice: to the journal in the store, durably, and to an observer, the UI.
-- Scripts without steps and effects cost neither: journal and folder are made when first used.
local check = require "dgrun.core.check"
local context = require "dgrun.run.context"
local err = require "dgrun.core.err"
local folders = require "dgrun.run.folders"
local fs = require "host.fs"
local host_task = require "host.task"
local proc = require "host.proc"
local process = require "dgrun.core.process"
local step = require "dgrun.run.step"
local store_of = require "dgrun.run.store"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@class dgrun.run.options
---@field name string
---@field root string
---@field script? string
---@field source? string text of the script
---@field arguments? string[] of the command line
---@field past? dgrun.past
---@field input? table
---@field plan? boolean
---@field sandbox? boolean
---@field journal? boolean false: nothing is written to the store
---@field observer? table called with the events of the run, such as observer:step_started(step)

local alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

local function new_id()
    local source = assert(io.open("/dev/urandom", "rb"))
    local random = source:read(4):gsub(".", function(c)
        local at = c:byte() % 32 + 1
        return alphabet:sub(at, at)
    end)
    source:close()
    return os.date("!%Y%m%d-%H%M%S-", math.floor(time.wall())) .. random
end

local function note_folder(r, dir)
    if store_of.opened(r) and not r.plan then
        store_of.journal(r, "run_note", { dir = dir })
    end
end

local lazy = {
    dir = function(r)
        local dir = check(fs.temp_dir("dgrun-" .. r.id))
        rawset(r, "dir", dir)
        note_folder(r, dir)
        return dir
    end,
}

M.step = step.run

local may_go_on = { failed = true, cancelled = true }

---Removes the run's folder, unless `dgrun resume` may continue in it; its path is in the journal.
local function close(r)
    task.shield(function()
        local journaled = store_of.opened(r) and not r.plan and r.journal ~= false
        local kept = journaled and may_go_on[r.status] and #r.steps > 0 and r.script ~= "-e"
        if rawget(r, "dir") and not kept then
            fs.remove(r.dir, { recursive = true })
        end
        if journaled then
            -- What cannot be removed now is removed by the next run.
            pcall(folders.sweep, store_of.of(r), r, kept)
        end
        store_of.release(r)
    end)
end

local function new_run(opts)
    local past = opts.past
    return setmetatable({
        id = past and past.run.id or new_id(), name = opts.name, script = opts.script,
        root = opts.root, source = opts.source, arguments = opts.arguments,
        input = opts.input or {}, plan = opts.plan or false, sandbox = opts.sandbox or false,
        journal = opts.journal, observer = opts.observer, past = past, dir = past and past.dir,
        attempt = past and past.run.attempt + 1 or 1,
        steps = {}, names = {}, effects = {}, notes = {}, facts = {}, unstoppable = {},
        status = "running", started = time.now(), started_at = time.wall(),
    }, {
        __index = function(self, key)
            local make = lazy[key]
            return make and make(self)
        end,
    })
end

---Runs `fn` in a task of its own, which can be asked to stop, to its end.
local function carry_out(r, fn)
    r.child = host_task.spawn(function()
        return unpack { xpcall(task.scope, context.explained, function()
            local good, value = xpcall(fn, context.explained, r)
            if not good then
                error(value, 0)
            end
            return value
        end) }
    end, { name = "run" })
    local finished, ok, result = r.child:join()
    if not finished and r.child:status() == "running" then
        context.stop(r)
        finished, ok, result = task.shield(r.child.join, r.child)
    end
    if r.watcher then
        r.watcher:cancel()
        task.shield(r.watcher.join, r.watcher)
    end
    if not finished then
        return false, ok
    end
    return ok, result
end

local function conclude(r, ok, result)
    if ok then
        r.status, r.result = "done", result
        return
    end
    local reason = r.stopping
    if err.is_object(reason) and err.is(result, "cancelled") then
        reason.step, result = reason.step or result.step, reason
    end
    r.error = result
    r.status = err.is(result, "cancelled") and "cancelled"
        or err.is(result, "run.superseded") and "superseded" or "failed"
end

---Runs `fn` as a run. Does not raise: the outcome stands in the returned run.
---@param opts dgrun.run.options
---@param fn fun(run: dgrun.run): any
---@return dgrun.run
function M.execute(opts, fn)
    local outer_id = os.getenv(process.VARIABLE)
    local r = new_run(opts)
    local outer = context.enter(r)
    proc.export(process.VARIABLE, r.id)
    if r.past then
        store_of.adopt(r, r.past.store)
    end
    local ok, result = carry_out(r, fn)
    r.seconds = time.now() - r.started
    conclude(r, ok, result)
    if store_of.opened(r) then
        local written, e = pcall(store_of.journal, r, "run_end")
        if not written and ok then
            r.status, r.error = "failed", err.object(e)
        end
    end
    close(r)
    proc.export(process.VARIABLE, outer_id)
    context.enter(outer)
    return r
end

return M
