-- The right to be the only run of a group: waited for in turn, kept by a heartbeat, given back at
-- the end. A run that lost it begins nothing any more.
local context = require "dgrun.run.context"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local host_task = require "host.task"
local process = require "dgrun.core.process"
local store_of = require "dgrun.run.store"
local task = require "dgrun.core.task"
local tickets = require "dgrun.run.tickets"
local time = require "host.time"

local M = {}

---Seconds between two signs of life; within one of them a run hears that it is superseded.
M.heartbeat = 2
---Seconds between two looks at who is before.
M.poll = 0.5

---@class dgrun.lease
---@field name string of the group
---@field ticket integer
---@field lost_error fun(): dgrun.err

---@class dgrun.lease.wanted
---@field name string of the group
---@field when_busy "wait"|"supersede"|"fail"
---@field reason string what the run is, for those who wait for it

local function clock(seconds)
    local iso = time.iso(seconds)
    return iso:sub(12, 16) .. " UTC"
end

---Who somebody is, as people ask: "anna on laptop (pid 4711)".
---@param row {who?: string, host?: string, pid?: integer}
---@return string
function M.whose(row)
    local text = row.who or "someone"
    if row.host then
        text = ("%s on %s"):format(text, row.host)
    end
    return row.pid and ("%s (pid %d)"):format(text, row.pid) or text
end

---What one knows of a run that has a ticket: who, where, since when, at which step, why.
---@param row dgrun.store.ticket
---@return string
function M.describe(row)
    local now = time.wall()
    local since = row.since or row.queued
    local parts = { ("%s by %s, since %s (%s)"):format(row.run, M.whose(row), clock(since),
        format.duration(math.max(0, now - since))) }
    if row.step then
        parts[#parts + 1] = "at step " .. row.step
    end
    if row.reason then
        parts[#parts + 1] = row.reason
    end
    return table.concat(parts, ", ")
end

---@param hold {name: string, who?: string, host?: string, reason: string, since: number}
---@return string
function M.describe_hold(hold)
    return ("%s was frozen by %s at %s: %s"):format(hold.name, M.whose(hold),
        time.iso(hold.since), hold.reason)
end

local function held_hint(hold)
    return ("Ask %s. To release the hold: dgrun lock release %s"):format(hold.who or "them",
        hold.name)
end

local function superseded(by)
    return err.new {
        code = "run.superseded", by = by, op = "lease",
        msg = ("the newer run %s takes over"):format(by),
        hint = ("See the newer run: dgrun show %s"):format(by),
    }
end

local function lost(lease, store)
    local ok, list = pcall(tickets.list, store, lease.name)
    local holder = ok and list[1] and list[1].state == "holding" and list[1].run ~= lease.run
        and list[1]
    return err.new {
        code = "lock.lost", op = "lease", group = lease.name,
        msg = ("this run no longer holds %s: %s"):format(lease.name, holder
            and "now held by " .. M.describe(holder)
            or ("it did not renew its lock for %d s, or someone released the "
                .. "lock"):format(tickets.ttl)),
        hint = "No further change was begun. When the other run has ended: "
            .. "dgrun resume " .. lease.run,
    }
end

---Removes tickets of the dead, so that nobody waits for them. The children of a run that was killed
---may still be at work: they are waited for.
---@return string? # what is waited for
local function bury(store, rows, me)
    for _, row in ipairs(rows) do
        local ended = row.ticket ~= me and process.ended(row)
        if ended then
            local child = process.children(row.run)[1]
            if child then
                return ("%s was killed, but its child process %d is still running: %s")
                    :format(row.run, child.pid, child.command)
            end
        end
        if row.ticket ~= me and (ended or row.left <= 0) then
            tickets.remove_dead(store, row, ended == true)
        end
    end
end

local function before(rows, me)
    local list = {}
    for _, row in ipairs(rows) do
        if row.state == "holding" or row.ticket < me then
            list[#list + 1] = row
        end
    end
    return list
end

local function busy(wanted, ahead, hold)
    if hold then
        err.raise { code = "lock.held", op = "lease", group = wanted.name,
            msg = M.describe_hold(hold), hint = held_hint(hold) }
    end
    local holder = ahead[1]
    err.raise { code = "lock.busy", op = "lease", group = wanted.name,
        msg = ("%s is busy: %s"):format(wanted.name, holder and M.describe(holder)
            or "another run has just taken it"),
        hint = "Nothing was changed. Try again when that run has ended: dgrun lock list" }
end

---What to tell while waiting; it is told anew when it changes.
local function situation(wanted, ahead, hold, child)
    if child then
        return child, child
    elseif hold then
        local text = ("%s. %s"):format(M.describe_hold(hold), held_hint(hold))
        return text, text
    end
    local holder = ahead[1]
    if not holder then
        return nil
    end
    local more = #ahead > 1
        and (", and %s before this run"):format(format.count(#ahead - 1, "more run")) or ""
    return ("Waiting for %s: %s%s"):format(wanted.name, M.describe(holder), more),
        holder.run .. (holder.step or "") .. more
end

---Out of reach of a cancel: what was drawn is known, and so given back.
local function draw(store, lease, wanted)
    lease.ticket = task.shield(tickets.draw, store,
        { name = wanted.name, run = lease.run, reason = wanted.reason })
end

local function wait_turn(store, lease, wanted)
    local renewed, told = time.now(), nil
    while not tickets.take(store, lease.ticket, wanted.name) do
        local rows = tickets.list(store, wanted.name)
        local mine
        for _, row in ipairs(rows) do
            mine = row.ticket == lease.ticket and row or mine
        end
        if not mine then
            -- This computer slept for longer than a ticket counts: to the end of the queue.
            local newer = wanted.when_busy == "supersede"
                and tickets.newer(store, wanted.name, lease.run)
            if newer then
                err.raise(superseded(newer))
            end
            draw(store, lease, wanted)
        elseif mine.superseded_by then
            err.raise(superseded(mine.superseded_by))
        end
        local child = bury(store, rows, lease.ticket)
        local ahead, hold = before(rows, lease.ticket), tickets.hold_of(store, wanted.name)
        if wanted.when_busy == "fail" and not tickets.take(store, lease.ticket, wanted.name) then
            busy(wanted, ahead, hold)
        end
        local text, mark = situation(wanted, ahead, hold, child)
        if text and mark ~= told then
            told = mark
            context.emit("waiting", text)
        end
        if time.now() - renewed > tickets.ttl / 3 then
            renewed = time.now()
            tickets.renew(store, lease.ticket)
        end
        task.sleep(M.poll * (0.5 + math.random() / 2))
    end
    return told ~= nil
end

---Signs of life, until this run is not wanted any more.
local function keep(store, lease, r)
    local heard = time.now()
    while true do
        task.sleep(M.heartbeat)
        local ok, row = pcall(tickets.renew, store, lease.ticket)
        if ok and not row then
            return context.stop(r, lost(lease, store))
        elseif ok and row.superseded_by then
            context.stop(r, superseded(row.superseded_by))
        elseif not ok and err.is(row, "cancelled") then
            return
        elseif not ok and time.now() - heard > tickets.ttl then
            return context.stop(r, lost(lease, store))
        end
        heard = ok and time.now() or heard
    end
end

---Waits until the current run is the only one of its group; gives the group back at its end.
---Errors: lock.busy, lock.held (`fail`), run.superseded; later the run may be stopped with
---run.superseded or lock.lost.
---@param r dgrun.run
---@param wanted dgrun.lease.wanted
function M.take(r, wanted)
    local lease = { name = wanted.name, run = r.id }
    r.lease = lease
    local store = store_of.current()
    lease.lost_error = function() return lost(lease, store) end
    store_of.journal(r, "run_note", { status = "waiting", lease = wanted.name })
    task.defer(function()
        if lease.keeper then
            lease.keeper:cancel()
            lease.keeper:join()
        end
        -- Not that of the run: by now another process may go on with it.
        if lease.ticket then
            tickets.give_back(store, lease.ticket)
        end
    end)
    draw(store, lease, wanted)
    if wanted.when_busy == "supersede" then
        tickets.supersede(store, lease.ticket, wanted.name, r.id)
    end
    local waited = wait_turn(store, lease, wanted)
    store_of.journal(r, "run_note", { status = "running" })
    if waited then
        context.emit("waiting", ("It is this run's turn: %s is free"):format(wanted.name))
    end
    lease.keeper = host_task.spawn(function() keep(store, lease, r) end,
        { name = "lease " .. wanted.name, daemon = true })
end

---The group of this name on the local Fly: a world of its own beside the real one.
---@param name string
---@param sandbox? boolean
---@return string
function M.group(name, sandbox)
    return sandbox and name:sub(1, 8) ~= "sandbox/" and "sandbox/" .. name or name
end

return M
