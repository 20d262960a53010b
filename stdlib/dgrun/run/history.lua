-- Runs as the journal has them, found and read for those who look at them or go on with one.
local err = require "dgrun.core.err"
local journal = require "dgrun.run.journal"
local process = require "dgrun.core.process"
local store_of = require "dgrun.run.store"
local redacted = require("dgrun.run.store_rows").redacted
local tickets = require "dgrun.run.tickets"
local json = require "dgrun.core.json"

local M = {}

-- All but the text of the script.
local COLUMNS = "id, name, script, root, dir, input, arguments, sandbox, host, pid, machine, "
    .. "process, who, status, started, finished, error, attempt, commit_id, lease"
local SCANNED = 10000

local open_status = { running = true, waiting = true }

---What became of a run, seen from here: one whose process is gone was killed. Of a process on
---another computer its lease tells, if it has one; else what it wrote last.
---@param row table of the run
---@param ticket? dgrun.store.ticket
---@return "running"|"waiting"|"killed"|"done"|"failed"|"cancelled"|"superseded" status
---@return boolean sure
function M.status(row, ticket)
    if not open_status[row.status] then
        return row.status, true
    end
    local ended = process.ended(row)
    if ended then
        return "killed", true
    elseif ended == nil and row.lease and (not ticket or ticket.left <= 0) then
        return "killed", true
    end
    return row.status, ended ~= nil or ticket ~= nil
end

local function tickets_of(store)
    local by_run = {}
    for _, ticket in ipairs(tickets.list(store)) do
        by_run[ticket.run] = ticket
    end
    return by_run
end

---@class dgrun.history.filter
---@field limit integer
---@field name? string of the script
---@field status? string
---@field since? number unix seconds
---@field root? string only runs of this folder
---@field group? string that it took, or waited for

---@param store dgrun.store
---@param filter dgrun.history.filter
---@return table[] # rows, newest first, with the status as it is seen from here
function M.list(store, filter)
    local where, values = { "1 = 1" }, {}
    for _, one in ipairs {
        { "name = ?", filter.name }, { "started >= ?", filter.since }, { "root = ?", filter.root },
        { "lease = ?", filter.group and redacted(filter.group) },
    } do
        if one[2] then
            where[#where + 1], values[#values + 1] = one[1], one[2]
        end
    end
    -- The status of a run that did not end is only known when its process was looked for.
    local limit = filter.status and SCANNED or filter.limit
    local found = store:query(("SELECT %s FROM @runs WHERE %s ORDER BY started DESC LIMIT %d")
        :format(COLUMNS, table.concat(where, " AND "), limit), values)
    local by_run, list = found[1] and tickets_of(store) or {}, {}
    for _, row in ipairs(found) do
        row.status, row.sure = M.status(row, by_run[row.id])
        row.input = row.input and json.decode(row.input) or {}
        row.arguments = row.arguments and json.decode(row.arguments) or nil
        row.error = row.error and json.decode(row.error) or nil
        if (not filter.status or filter.status == row.status) and #list < filter.limit then
            list[#list + 1] = row
        end
    end
    return list
end

local function escaped(text)
    return (text:gsub("[%%_\\]", "\\%0"))
end

---The run that an id, its beginning or its end names.
---@param store dgrun.store
---@param id string
---@return table row as of `list`
function M.find(store, id)
    local found = store:query([[SELECT id FROM @runs WHERE id = ? OR id LIKE ? ESCAPE '\'
        OR id LIKE ? ESCAPE '\' ORDER BY id DESC LIMIT 3]],
        { id, escaped(id) .. "%", "%-" .. escaped(id) })
    if #found == 0 then
        err.raise { code = "input.unknown_run", msg = ("no run '%s'"):format(id),
            hint = "dgrun history lists the runs." }
    elseif #found > 1 and found[1].id ~= id then
        local ids = {}
        for i, row in ipairs(found) do
            ids[i] = row.id
        end
        err.raise { code = "input.ambiguous_run",
            msg = ("several run ids begin with '%s'"):format(id),
            hint = "For example: " .. table.concat(ids, ", ") .. "." }
    end
    local row = journal.run(store, found[1].id)
    row.status, row.sure = M.status(row, tickets_of(store)[row.id])
    return row
end

local goes_on = { killed = true, cancelled = true, failed = true }

---The last run of a folder that did not come to its end, unless a later one of its script did.
---@param store dgrun.store
---@param root string
---@return table? row
function M.interrupted(store, root)
    local done = {}
    for _, row in ipairs(M.list(store, { limit = 1000, root = root })) do
        if goes_on[row.status] and not done[row.name] then
            return M.find(store, row.id)
        end
        done[row.name] = done[row.name] or row.status == "done"
    end
end

---A run as programs read it.
---@param row table of `list`
---@return table
function M.run_data(row)
    return {
        id = row.id, script = row.script, name = row.name, status = row.status,
        started = row.started, finished = row.finished, inputs = row.input,
        sandbox = row.sandbox == 1, who = row.who, host = row.host, pid = row.pid,
        attempt = row.attempt, group = row.lease, commit = row.commit_id, error = row.error,
    }
end

---A run with its steps and effects, as programs read it.
---@return table
function M.whole_data(row, steps, effects)
    local data = M.run_data(row)
    data.steps, data.effects = json.array {}, json.array {}
    local names = {}
    for i, step in ipairs(steps) do
        names[step.seq] = step.name
        data.steps[i] = { name = step.name, status = step.status, attempt = step.attempt,
            started = step.started, finished = step.finished, result = step.result,
            error = step.error }
    end
    for i, e in ipairs(effects) do
        data.effects[i] = { step = e.step and names[e.step], kind = e.kind, target = e.target,
            summary = e.summary, status = e.status, attempt = e.attempt, started = e.started,
            finished = e.finished, before = e.before, after = e.after, result = e.result,
            error = e.error }
    end
    return data
end

---The store of a project: that of the environment, or of the local Fly's runs.
---@param root string
---@param opts {write?: boolean, sandbox?: boolean}
---@return dgrun.store
function M.open(root, opts)
    return store_of.open(root, { read_only = not opts.write, sandbox = opts.sandbox })
end

---Calls `f` with the store, and closes it.
---@generic T
---@param root string
---@param opts {write?: boolean, sandbox?: boolean}
---@param f fun(store: dgrun.store): T
---@return T
function M.with(root, opts, f)
    local store = M.open(root, opts)
    local result = { pcall(f, store) }
    store:close()
    if not result[1] then
        error(result[2], 0)
    end
    return unpack(result, 2)
end

return M
