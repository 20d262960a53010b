-- The named, journaled parts of a run.
local check = require "dgrun.core.check"
local context = require "dgrun.run.context"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local replay = require "dgrun.run.replay"
local snapshot = require "dgrun.core.snapshot"
local store_of = require "dgrun.run.store"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@class dgrun.step.options
---@field always? boolean `dgrun resume` runs the step again even if it is done
---@field files? boolean the step leaves files in the checkout: it runs again when they are gone

local spec = { always = "boolean?", files = "boolean?" }

local function check_step(r, name, fn)
    local fault
    if type(name) ~= "string" or name == "" or #name > 80 or name:find("%c") then
        fault = "a step's name must be a string of 1 to 80 printable characters"
    elseif type(fn) ~= "function" then
        fault = ("step '%s' needs a function"):format(name)
    end
    if fault then
        err.raise { code = "input.invalid", op = "step", msg = fault }
    end
    context.refuse_declaring(("step '%s'"):format(name))
    local outer = context.own_step()
    if outer then
        err.raise {
            code = "run.nested_step",
            msg = ("step '%s' was started inside step '%s'"):format(name, outer.name),
            hint = "Steps do not nest. End the outer step first, or merge the two steps.",
        }
    end
    if r and r.names[name] then
        err.raise {
            code = "run.duplicate_step",
            msg = ("two steps of this run are named '%s'"):format(name),
            hint = "Give each step a unique name; resume finds steps by name.",
        }
    end
end

---What an earlier attempt of this run returned from the step; false where it has to run (again).
local function replayed(r, name, opts)
    local row = r.past and r.past.steps[name]
    if not row or row.status ~= "done" or opts.always then
        return false
    elseif opts.files and not r.past.dir then
        effect.note(("step %s runs again: the files it created are gone")
            :format(name))
        return false
    end
    local ok, value = replay.result(r, row)
    if not ok then
        effect.note(
            ("step %s runs again: %s"):format(name, value.msg or value))
        return false
    end
    local step = { name = name, seq = row.seq, status = "done", started = 0, finished = 0, run = r,
        result = value, replayed = true }
    r.steps[#r.steps + 1], r.names[name] = step, step
    context.emit("step_replayed", step)
    return true, value
end

local function next_seq(r, name)
    local row = r.past and r.past.steps[name]
    if row then
        return row.seq
    end
    r.step_seq = (r.step_seq or (r.past and r.past.step_seq) or 0) + 1
    return r.step_seq
end

local function step_result(step, value)
    if value == nil then
        return nil
    end
    if step.run.plan then
        return snapshot.lenient(value)
    end
    local copy, path, reason = snapshot.strict(value)
    if copy == nil and path then
        err.raise {
            code = "run.step_result",
            msg = ("step '%s' returned a value that cannot be journaled: %s %s")
                :format(step.name, path, reason),
            hint = "Return plain data: strings, numbers, booleans, lists, and tables of these.",
        }
    end
    return replay.portable(step.run, copy)
end

local function end_step(step, status, e)
    step.status, step.error = status, e
    step.finished = time.now()
    store_of.journal(step.run, "step_end", step)
    context.emit("step_ended", step)
end

---Runs `fn` as a named, journaled part of the run.
---@generic T
---@param name string unique in the run
---@param opts dgrun.step.options|fun(): T? may be left out
---@param fn? fun(): T? its result must be JSON data; sealed values are journaled by name
---@return T
function M.run(name, opts, fn)
    if type(opts) == "function" and fn == nil then
        opts, fn = {}, opts
    end
    local r = context.current()
    check_step(r, name, fn)
    check.options(opts, spec, ("step '%s'"):format(name))
    if not r then
        return (fn())
    end
    task.checkpoint()
    local done, value = replayed(r, name, opts)
    if done then
        return value
    end
    local now = time.now()
    local step = { name = name, seq = next_seq(r, name), status = "running", started = now,
        run = r }
    r.steps[#r.steps + 1], r.names[name] = step, step
    local outer = context.enter_step(step)
    store_of.journal(r, "step_start", step)
    context.emit("step_started", step)
    local ok, result = xpcall(function()
        local returned = fn()
        step.result = step_result(step, returned)
        return returned
    end, context.explained)
    context.enter_step(outer)
    if ok then
        end_step(step, "done")
        return result
    end
    if type(result) == "table" and not result.step then
        result.step = name
    end
    end_step(step, err.is(result, "cancelled") and "cancelled" or "failed", result)
    error(result, 0)
end

return M
