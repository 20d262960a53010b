-- The one door for changes to the world outside. In a run an effect is journaled, intent before and
-- outcome after, and applied; in a plan it is recorded and not applied.
local check = require "dgrun.core.check"
local checkouts = require "dgrun.core.checkouts"
local err = require "dgrun.core.err"
local context = require "dgrun.run.context"
local replay = require "dgrun.run.replay"
local snapshot = require "dgrun.core.snapshot"
local store_of = require "dgrun.run.store"
local task = require "dgrun.core.task"
local time = require "host.time"
local unknown = require "dgrun.core.unknown"

local M = {}

---@class dgrun.effect.options
---@field kind string dotted, noun before verb: "fly.machine.update"
---@field target string what it acts on: "draft-app/1781", never a secret
---@field summary string one line for people: "update machine 1781 of draft-app"
---@field before? any the state it finds, nil when it creates; sealed values are shown by name
---@field after? any the state it leaves, nil when it destroys
---@field name? string what the result is called in messages of a plan
---@field once? string for a change that cannot be seen afterwards: when this run has made it for
---  this key already, in an earlier attempt, it is not made again
---@field changed? fun(result: any): boolean told what `apply` returned: did it change anything? The
---  end of a run does not count what did not
---@field apply fun(): any makes the change

---@class dgrun.effect.record
---@field kind string
---@field target string
---@field summary string
---@field before? any
---@field after? any
---@field seq integer
---@field step? dgrun.step
---@field action "create"|"update"|"destroy"|"run"
---@field status "planned"|"intent"|"done"|"failed"|"interrupted"
---@field unchanged? boolean it was carried out, and changed nothing
---@field error? dgrun.err

local spec = {
    kind = "string", target = "string", summary = "string", before = "any?", after = "any?",
    name = "string?", once = "string?", changed = "function?", apply = "function",
}

local destroying = { destroy = true, delete = true, remove = true, unset = true }
local creating = { create = true, add = true, push = true }
local updating = { update = true, set = true, start = true, stop = true, cordon = true }

---What an effect does, from its two states; without them, from the verb of its kind.
---@return "create"|"update"|"destroy"|"run"
function M.action(e)
    local verb = e.kind:match("([%w_]+)$")
    if e.before ~= nil and e.after ~= nil then
        return "update"
    elseif destroying[verb] or e.before ~= nil then
        return "destroy"
    elseif creating[verb] then
        return "create"
    elseif updating[verb] and e.after == nil then
        return "update"
    end
    return e.after ~= nil and "create" or "run"
end

---@return boolean
function M.planning()
    return context.planning()
end

M.is_unknown = unknown.is
M.unknown = unknown.new

---Information about the current step, without an effect: "already on v12".
---@param text string
function M.note(text)
    local r, step = context.current(), context.current_step()
    if r then
        text = checkouts.readable(tostring(text))
        table.insert(r.notes, { step = step, text = text })
        context.emit("note", step, text)
    end
end

local function new_record(e)
    local r = context.current()
    local record = {
        kind = e.kind, target = e.target, summary = checkouts.readable(e.summary),
        before = e.before, after = e.after, action = M.action(e), step = context.current_step(),
        once = e.once,
    }
    if r then
        r.effects[#r.effects + 1] = record
        record.seq = (r.past and r.past.effect_seq or 0) + #r.effects
    end
    return record
end

local function apply(record, e)
    task.checkpoint()
    record.status = "intent"
    record.started = time.now()
    store_of.journal(context.current(), "effect_intent", record)
    context.emit("effect_started", record)
    -- A cancel that came while the intent was written stops before the change, not in it.
    local ok, result = pcall(function()
        task.checkpoint()
        record.began = true
        local value = e.apply()
        record.unchanged = e.changed ~= nil and e.changed(value) ~= true
        return value
    end)
    record.finished = time.now()
    record.status = ok and "done"
        or (record.began and err.is(result, "cancelled") and "interrupted" or "failed")
    if ok then
        record.result = snapshot.lenient(result)
    else
        record.error = err.object(result)
    end
    store_of.journal(context.current(), "effect_end", record)
    context.emit("effect_ended", record)
    if not ok then
        error(result, 0)
    end
    return result
end

---Makes a change, or records it in a plan.
---@param e dgrun.effect.options
---@return any # what `apply` returns; an unknown value in a plan
function M.write(e)
    check.options(e, spec, "effect.write")
    context.refuse_declaring(e.summary)
    local current = context.current()
    if current and current.before_change then
        current.before_change()
    end
    local earlier = e.once and current and current.past
        and replay.done(current, e)
    if earlier then
        M.note(("%s: already done"):format(e.summary))
        return earlier.result
    end
    local record = new_record(e)
    if M.planning() then
        record.status = "planned"
        context.emit("effect_planned", record)
        return unknown.new(e.name or e.kind)
    elseif not current then
        return e.apply()
    end
    return apply(record, e)
end

return M
