-- One execution of a script: its id, its private folder, its steps, and what it did.
-- A run tells its story twice: to the journal in the store, durably, and to an observer, the UI.
-- Scripts without steps and effects cost neither: journal and folder are made when first used.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local folders = require "dgrun.run.folders"
local fs = require "host.fs"
local gate = require "host.gate"
local host_task = require "host.task"
local journal = require "dgrun.run.journal"
local log = require "host.log"
local proc = require "host.proc"
local process = require "dgrun.core.process"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@class dgrun.run
---@field id string sorts by time: 20260801-100102-k3f9
---@field name string of the script
---@field script? string path of the script
---@field root string the project's folder
---@field dir string a private folder of this run, removed at its end, unless it can be resumed
---@field plan boolean effects are recorded, not applied
---@field sandbox boolean
---@field input table
---@field steps dgrun.step[]
---@field effects dgrun.effect.record[]
---@field notes {step: dgrun.step?, text: string}[]
---@field facts {name: string, value: string}[] what the summary tells beside the effects
---@field status "running"|"done"|"failed"|"cancelled"|"superseded"
---@field error? dgrun.err
---@field attempt integer 1, and one more each time that it is resumed
---@field past? dgrun.past what it did before it was interrupted
---@field before_change? fun() is called before each effect, and may refuse it
---@field lease? dgrun.lease

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

---@class dgrun.step
---@field name string
---@field seq integer
---@field status "running"|"done"|"failed"|"cancelled"
---@field started number
---@field finished? number
---@field result? any JSON data
---@field error? dgrun.err

local state = { declaring = false } ---@type {current?: dgrun.run, declaring: boolean}
local step_of_task = setmetatable({}, { __mode = "k" }) ---@type table<any, dgrun.step>

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
    if require("dgrun.run.store").opened(r) and not r.plan then
        M.journal("run_note", { dir = dir })
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

---@return dgrun.run? # nil outside of a run
function M.current()
    return state.current
end

---From here on the script is no run: its effects are applied without a journal. For scripts that
---make runs themselves, such as tests.
function M.leave()
    state.current = nil
end

---Are effects recorded instead of applied?
---@return boolean
function M.planning()
    local r = state.current
    return r and r.plan or gate.closed()
end

---Tells the observer of the current run.
function M.emit(event, ...)
    local observer = state.current and state.current.observer
    if observer and observer[event] then
        observer[event](observer, ...)
    end
end

---The step this task opened itself and is still in.
---@return dgrun.step?
function M.own_step()
    local me = host_task.current()
    local step = me and step_of_task[me]
    return step and step.status == "running" and step.run == state.current and step or nil
end

---@param step dgrun.step?
---@return dgrun.step? # the one before
function M.enter_step(step)
    local me = host_task.current()
    local before = step_of_task[me]
    step_of_task[me] = step
    return before
end

---The step this task is in; for a task without one, the step that was opened last.
---@return dgrun.step?
function M.current_step()
    local r = state.current
    local own = r and M.own_step()
    if own or not r then
        return own
    end
    for i = #r.steps, 1, -1 do
        if r.steps[i].status == "running" then
            return r.steps[i]
        end
    end
end

---Writes to the journal of the current run, out of reach of a cancel: what happened is recorded.
---@param method string of the store
function M.journal(method, ...)
    local r = state.current
    if not r or r.plan or r.journal == false then
        return
    end
    task.shield(function(...)
        local store = require("dgrun.run.store").current()
        journal[method](store, r, ...)
    end, ...)
end

---Runs `f` to its end, whatever asks the run to stop meanwhile: a change, until it is known what
---became of it. Who waits for the end of the run is told `what`.
---@generic T
---@param what string "the answer to POST /v1/apps/x/machines"
---@param f fun(): T
---@return T
function M.finish(what, f, ...)
    local r = state.current
    local mark = { what = what }
    if r then
        r.unstoppable[mark] = true
    end
    local result = { pcall(task.shield, f, ...) }
    if r then
        r.unstoppable[mark] = nil
    end
    if not result[1] then
        error(result[2], 0)
    end
    return unpack(result, 2)
end

---Was the current run asked to stop?
---@return boolean
function M.is_stopping()
    return state.current ~= nil and state.current.stopping ~= nil
end

local function what_is_finished(r)
    local list, seen = {}, {}
    for mark in pairs(r.unstoppable) do
        if not seen[mark.what] then
            seen[mark.what] = true
            list[#list + 1] = mark.what
        end
    end
    table.sort(list)
    return list
end

---Says what a run that was asked to stop still waits for.
local function tell_delay(r)
    local sleep, told = time.sleep, nil
    while sleep(1) and r.child:status() == "running" do
        local list = what_is_finished(r)
        local text = #list > 0 and table.concat(list, ", ") or "its cleanup"
        if text ~= told then
            told = text
            if r.observer and r.observer.stopping then
                r.observer:stopping(text)
            end
        end
    end
end

---Asks a run to stop at the next safe point: its waits end, what it is changing is finished.
---@param r dgrun.run
---@param e? dgrun.err why, when it is not a signal
function M.stop(r, e)
    if r.stopping == nil then
        r.stopping = e or true
        r.watcher = host_task.spawn(function() tell_delay(r) end,
            { name = "stopping", daemon = true })
    end
    r.child:cancel()
end

---A line of output of the current step, such as a child's.
---@param line string
function M.log(line)
    M.emit("log", M.current_step(), log.clean(tostring(line)))
end

---@param r dgrun.run
---@param name string
---@return {name: string, value: string}?
function M.find_fact(r, name)
    for _, fact in ipairs(r.facts) do
        if fact.name == name then
            return fact
        end
    end
end

---@param r dgrun.run
function M.add_fact(r, name, value)
    table.insert(r.facts, { name = name, value = value })
end

---Something the end of the run should name, such as an image or a release and its status.
---A later value replaces an earlier.
---@param name string
---@param value string
function M.fact(name, value)
    local r = state.current
    local known = r and M.find_fact(r, name)
    if known then
        known.value = tostring(value)
    elseif r then
        M.add_fact(r, name, tostring(value))
    end
end

---What belongs into `run = function(input) … end` is refused while a pipeline is declared.
function M.refuse_declaring(what)
    if state.declaring then
        err.raise {
            code = "run.declaring",
            msg = what .. " outside the pipeline's 'run' function",
            hint = "Move the call into run = function(input) … end; "
                .. "the rest of the file only declares.",
        }
    end
end

---The first line of a script in a trace.
local function script_line(trace)
    for path, line in trace:gmatch("\n%s+([^\n:]+):(%d+):") do
        if path:sub(1, 7) ~= "stdlib/" and path:sub(1, 1) ~= "[" then
            return path .. ":" .. line
        end
    end
end

---Any caught value as an error object that knows where in a script it happened.
local function explain(e, trace)
    e = err.object(e)
    if e.code == "lua.error" and not e.where then
        local where, msg = e.msg:match("^([^\n:]+:%d+): (.*)$")
        if where and where:sub(1, 7) ~= "stdlib/" then
            e.where, e.msg = where, msg
        end
    end
    e.where = e.where or script_line(e.trace or trace)
    e.trace = e.trace or trace
    return e
end

---For xpcall: explains the error while the stack is still there.
---@return dgrun.err
function M.explained(e)
    return explain(e, debug.traceback("", 2))
end

---Runs what declares a pipeline: it can neither wait nor have steps or effects.
---@return any … what `f` returns
function M.declaring(f, ...)
    state.declaring = true
    local co = coroutine.create(f)
    local result = { coroutine.resume(co, ...) }
    state.declaring = false
    if not result[1] then
        error(explain(result[2], debug.traceback(co)), 0)
    end
    return unpack(result, 2)
end

---Runs `fn` as a named, journaled part of the run.
---@generic T
---@param name string unique in the run
---@param opts dgrun.step.options|fun(): T? may be left out
---@param fn? fun(): T? its result must be JSON data; sealed values are journaled by name
---@return T
function M.step(name, opts, fn)
    return require("dgrun.run.step").run(name, opts, fn)
end

local may_go_on = { failed = true, cancelled = true }

---Removes the run's folder, unless `dgrun resume` may continue in it; its path is in the journal.
local function close(r)
    task.shield(function()
        local store = require "dgrun.run.store"
        local journaled = store.opened(r) and not r.plan and r.journal ~= false
        local kept = journaled and may_go_on[r.status] and #r.steps > 0 and r.script ~= "-e"
        if rawget(r, "dir") and not kept then
            fs.remove(r.dir, { recursive = true })
        end
        if journaled then
            -- What cannot be removed now is removed by the next run.
            pcall(folders.sweep, store.current(), r, kept)
        end
        store.release(r)
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
        return unpack { xpcall(task.scope, M.explained, function()
            local good, value = xpcall(fn, M.explained, r)
            if not good then
                error(value, 0)
            end
            return value
        end) }
    end, { name = "run" })
    local finished, ok, result = r.child:join()
    if not finished and r.child:status() == "running" then
        M.stop(r)
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
    local outer, outer_id = state.current, os.getenv(process.VARIABLE)
    local r = new_run(opts)
    state.current = r
    proc.export(process.VARIABLE, r.id)
    if r.past then
        require("dgrun.run.store").adopt(r, r.past.store)
    end
    local ok, result = carry_out(r, fn)
    r.seconds = time.now() - r.started
    conclude(r, ok, result)
    if require("dgrun.run.store").opened(r) then
        local written, e = pcall(M.journal, "run_end")
        if not written and ok then
            r.status, r.error = "failed", err.object(e)
        end
    end
    close(r)
    proc.export(process.VARIABLE, outer_id)
    state.current = outer
    return r
end

return M
