-- dgrun history, show and lock: what the store of runs contains.
local err = require "dgrun.core.err"
local history = require "dgrun.run.history"
local history_text = require "dgrun.ui.history"
local journal = require "dgrun.run.journal"
local json = require "dgrun.core.json"
local lease = require "dgrun.run.lock"
local log = require "host.log"
local scripts = require "dgrun.cli.scripts"
local tickets = require "dgrun.run.tickets"
local time = require "host.time"

local M = {}

local function with_store(line, write, f)
    return history.with(scripts.root(), { write = write, sandbox = line.sandbox }, f)
end

---dgrun history
---@param input table
---@param line dgrun.cli.arguments
function M.history(input, line)
    if input.limit < 0 then
        err.raise { code = "input.invalid",
            msg = ("history: --limit must be 0 or more, not %d"):format(input.limit) }
    end
    local rows = with_store(line, false, function(store)
        return history.list(store, {
            limit = input.limit, name = input.script, status = input.status,
            since = input.since and time.wall() - input.since,
            root = input.here and scripts.root() or nil,
        })
    end)
    if input.json then
        for _, row in ipairs(rows) do
            log.out(json.masked(history.run_data(row)) .. "\n")
        end
    elseif #rows == 0 then
        log.err("No matching runs.\n")
    else
        log.out(log.clean(history_text.table(rows)))
    end
end

---dgrun show: what a run did, step by step.
---@param input table
---@param line dgrun.cli.arguments
function M.show(input, line)
    local row, steps, effects = with_store(line, false, function(store)
        local found = input.run and history.find(store, input.run)
            or history.list(store, { limit = 1 })[1]
            or err.raise { code = "input.unknown_run", msg = "no runs yet",
                hint = "dgrun list lists the scripts." }
        return found, journal.steps(store, found.id), journal.effects(store, found.id)
    end)
    log.out(input.json and json.masked(history.whole_data(row, steps, effects)) .. "\n"
        or log.clean(history_text.whole(row, steps, effects)))
end

---dgrun lock list
---@param input table
---@param line dgrun.cli.arguments
function M.list_locks(input, line)
    local rows, holds = with_store(line, false, function(store)
        return tickets.list(store), tickets.holds(store)
    end)
    log.out(input.json and json.masked(tickets.data(rows, holds)) .. "\n"
        or log.clean(history_text.locks(rows, holds)))
end

---dgrun lock hold
---@param input table
---@param line dgrun.cli.arguments
function M.hold(input, line)
    if input.reason == "" then
        err.raise { code = "input.missing", hint = "shown to waiting runs",
            msg = "lock hold: --reason is required" }
    end
    local group = lease.group(input.group, line.sandbox)
    local made, current = with_store(line, true, function(store)
        local ok = tickets.hold(store, group, input.reason)
        return ok, tickets.hold_of(store, group)
    end)
    if not made and current then
        err.raise { code = "lock.held", msg = lease.describe_hold(current),
            hint = ("Release the hold first: dgrun lock release %s"):format(group) }
    end
    log.out(log.clean(("%s is frozen: no run starts until dgrun lock release %s\n"):format(group,
        group)))
end

---Takes the group away from the run that holds it; the run stops before its next effect.
local function take_away(store, group, force)
    local holder = tickets.list(store, group)[1]
    if not holder or holder.state ~= "holding" then
        err.raise { code = "input.nothing_to_release", msg = ("no one holds %s"):format(group),
            hint = "dgrun lock list shows who holds each group." }
    elseif not force then
        err.raise { code = "refused.holder", msg = ("%s is held by %s"):format(group,
            lease.describe(holder)),
            hint = "--force takes the group away; the run stops before its next change." }
    end
    tickets.give_back(store, holder.ticket)
    return ("%s was taken away from %s; that run stops before its next change\n"):format(group,
        holder.run)
end

---dgrun lock release
---@param input table
---@param line dgrun.cli.arguments
function M.release(input, line)
    local group = lease.group(input.group, line.sandbox)
    local text = with_store(line, true, function(store)
        if tickets.release_hold(store, group) then
            return ("%s is free again\n"):format(group)
        end
        return take_away(store, group, input.force)
    end)
    log.out(log.clean(text))
end

return M
