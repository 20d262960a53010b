-- The state of the current run: its steps, what it reports, whether it was asked to stop. All that
-- happens in a run asks here; it knows neither the journal nor the store.
local err = require "dgrun.core.err"
local closed = require("host.gate").closed -- a reference of its own: a script may replace the other
local host_task = require "host.task"
local log = require "host.log"
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

---@class dgrun.step
---@field name string
---@field seq integer
---@field status "running"|"done"|"failed"|"cancelled"
---@field started number
---@field finished? number
---@field result? any JSON data
---@field error? dgrun.err

---@type {current?: dgrun.run, declaring: boolean, machines_url?: string}
local state = { declaring = false }
local step_of_task = setmetatable({}, { __mode = "k" }) ---@type table<any, dgrun.step>

---@return dgrun.run? # nil outside of a run
function M.current()
    return state.current
end

---Makes this the current run.
---@param r dgrun.run?
---@return dgrun.run? # the previous one
function M.enter(r)
    local before = state.current
    state.current = r
    return before
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
    return r and r.plan or closed()
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
---@return dgrun.step? # the previous one
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

---Says where the Machines API in use is; nil: the environment decides, then it is the real one.
---@param url? string
function M.use_machines_url(url)
    state.machines_url = url
end

---Where the Machines API in use is. A probe that gets no answer asks there whether this computer
---has a network.
---@return string
function M.machines_url()
    local variable = os.getenv "FLY_FLAPS_BASE_URL"
    return state.machines_url or variable ~= "" and variable or "https://api.machines.dev"
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

return M
