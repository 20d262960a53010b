-- dgrun lock list|hold|release: who holds each group; freezing and releasing a group.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local face = require "dgrun.ui.locks"
local history = require "dgrun.run.history"
local json = require "dgrun.core.json"
local lease = require "dgrun.run.lock"
local log = require "host.log"
local options_of = require "dgrun.cli.options"
local scripts = require "dgrun.cli.scripts"
local tickets = require "dgrun.run.tickets"

local M = {}

local function with_store(arguments, write, f)
    return history.with(scripts.root(), { write = write, sandbox = arguments.sandbox }, f)
end

local function list(arguments, rest)
    local options = options_of.parse("lock list", rest, { json = "flag" })
    local rows, holds = with_store(arguments, false, function(store)
        return tickets.list(store), tickets.holds(store)
    end)
    if options.json then
        log.out(json.masked(tickets.data(rows, holds)) .. "\n")
    else
        log.out(log.clean(face.text(rows, holds)))
    end
    return 0
end

local function group_of(arguments, words, command, hint)
    if not words[1] then
        err.raise { code = "input.missing", hint = hint,
            msg = ("dgrun lock %s needs the name of a group, usually the app"):format(command) }
    end
    return lease.group(words[1], arguments.sandbox)
end

local function hold(arguments, rest)
    local options, words = options_of.parse("lock hold", rest,
        { reason = "text" }, 1)
    local usage = "dgrun lock hold GROUP --reason 'why'"
    local group = group_of(arguments, words, "hold", usage)
    if not options.reason then
        err.raise { code = "input.missing", hint = usage,
            msg = "dgrun lock hold needs --reason, which is shown to waiting runs" }
    end
    local made, now = with_store(arguments, true, function(store)
        local ok = tickets.hold(store, group, options.reason)
        return ok, tickets.hold_of(store, group)
    end)
    if not made and now then
        err.raise { code = "lock.held", msg = lease.describe_hold(now),
            hint = ("Release the hold first: dgrun lock release %s"):format(group) }
    end
    log.out(log.clean(("%s is frozen: no run starts until dgrun lock release %s\n"):format(group,
        group)))
    return 0
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

local function release(arguments, rest)
    local options, words = options_of.parse("lock release", rest,
        { force = "flag" }, 1)
    local group = group_of(arguments, words, "release", "dgrun lock list shows who holds each "
        .. "group.")
    local text = with_store(arguments, true, function(store)
        if tickets.release_hold(store, group) then
            return ("%s is free again\n"):format(group)
        end
        return take_away(store, group, options.force)
    end)
    log.out(log.clean(text))
    return 0
end

local actions = { list = list, hold = hold, release = release }

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local action = table.remove(arguments.rest, 1)
    if not action then
        err.raise { code = "input.missing", msg = "dgrun lock needs list, hold, or release",
            hint = "dgrun help lock" }
    end
    check.known(action, actions, "dgrun lock has no action",
        "input.unknown")
    return actions[action](arguments, arguments.rest)
end

return M
