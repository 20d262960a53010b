-- Who holds a group and who waits for it. A ticket is a row; the holder of a group is the one whose
-- row says so, and a unique index lets there be one. Taken and renewed by compare-and-set in single
-- statements, by the clock of the store; who does not renew is removed by whoever waits.
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local process = require "dgrun.core.process"
local rows = require "dgrun.run.store_rows"
local time = require "host.time"

local M = {}

local UNIQUE_VIOLATION = "23505"
local redacted = rows.redacted -- as a name was written, so it is looked for

---Seconds for which a ticket counts after its run was heard of last.
M.ttl = 30

---@class dgrun.store.ticket
---@field ticket integer
---@field name string of the group
---@field run string
---@field state "waiting"|"holding"
---@field who? string
---@field host? string
---@field machine? string
---@field pid? integer
---@field process? string
---@field reason? string what the run is
---@field queued number
---@field since? number when it began to hold
---@field left number seconds until it expires
---@field superseded_by? string a run
---@field script? string
---@field step? string the one it is at

---Draws the number of a run in the queue of a group. A run has one.
---@param store dgrun.store
---@param of {name: string, run: string, reason: string}
---@return integer ticket
function M.draw(store, of)
    local own = process.own()
    return rows.insert(store, "@tickets", {
        name = of.name, run = of.run, state = "waiting", who = own.who, host = own.host,
        machine = own.machine, pid = own.pid, process = own.process, reason = of.reason,
    }, {
        -- By the store's clock, and with the row: without a time others would remove it.
        clock = { { "queued", 0 }, { "expires", M.ttl } },
        where = "@turn",
        tail = [[ON CONFLICT (run) DO UPDATE SET expires = excluded.expires,
            machine = excluded.machine, pid = excluded.pid, process = excluded.process
            RETURNING ticket]],
    })[1].ticket
end

---Everybody with a ticket for a group, the holder first, then those who wait, in their order.
---@param name? string of the group; all groups when absent
---@return dgrun.store.ticket[]
function M.list(store, name)
    local list = store:query(([[SELECT t.ticket, t.name, t.run, t.state, t.who, t.host, t.machine,
            t.pid, t.process, t.reason, t.queued, t.since, t.superseded_by,
            t.expires - @now AS "left", r.name AS script,
            (SELECT s.name FROM @steps s WHERE s.run = t.run AND s.status = 'running'
                ORDER BY s.seq DESC LIMIT 1) AS step_name
        FROM @tickets t LEFT JOIN @runs r ON r.id = t.run %s
        ORDER BY t.name, t.state, t.ticket]]):format(name and "WHERE t.name = ?" or ""),
        name and { redacted(name) } or {})
    for _, row in ipairs(list) do
        row.step, row.step_name = row.step_name, nil
    end
    return list
end

---@return {name: string, who?: string, host?: string, reason: string, since: number}?
function M.hold_of(store, name)
    return store:query("SELECT * FROM @holds WHERE name = ?", { redacted(name) })[1]
end

---Takes the group, if nobody has it, nobody came before and nobody froze it.
---@param ticket integer
---@param name string
---@return boolean
function M.take(store, ticket, name)
    name = redacted(name)
    local ok, taken = pcall(store.query, store, [[UPDATE @tickets
        SET state = 'holding', since = @now, expires = @now + ?
        WHERE ticket = ? AND (state = 'holding' OR superseded_by IS NULL
            AND NOT EXISTS (SELECT 1 FROM @tickets h WHERE h.name = ?
                AND (h.state = 'holding' OR h.ticket < ?))
            AND NOT EXISTS (SELECT 1 FROM @holds f WHERE f.name = ?))
        RETURNING ticket]], { M.ttl, ticket, name, ticket, name })
    if ok then
        return taken[1] ~= nil
    elseif err.is(taken, "sqlite.constraint") or taken.sqlstate == UNIQUE_VIOLATION then
        return false -- another one took it in the same moment
    end
    return err.raise(taken)
end

---Says that the run of a ticket still lives.
---@param ticket integer
---@return {superseded_by?: string}? # nil: the ticket is gone
function M.renew(store, ticket)
    return store:query([[UPDATE @tickets SET expires = @now + ? WHERE ticket = ?
        RETURNING superseded_by]], { M.ttl, ticket })[1]
end

---Tells all who came before that they are not wanted any more.
---@param ticket integer
---@param name string
---@param run string the one that says so
function M.supersede(store, ticket, name, run)
    store:query([[UPDATE @tickets SET superseded_by = ?
        WHERE name = ? AND ticket < ? AND superseded_by IS NULL]], { run, redacted(name), ticket })
end

---The last run that wanted a group after this one did.
---@param name string
---@param run string
---@return string? run
function M.newer(store, name, run)
    local found = store:query([[SELECT id FROM @runs WHERE lease = ?
        AND status IN ('waiting', 'running', 'done')
        AND started > (SELECT started FROM @runs WHERE id = ?)
        ORDER BY started DESC LIMIT 1]], { redacted(name), run })[1]
    return found and found.id
end

---Removes a ticket whose time is over, or that was of a process which has ended.
---@param seen dgrun.store.ticket
---@param ended boolean the process is known to have ended
---@return boolean
function M.remove_dead(store, seen, ended)
    local removed = store:query([[DELETE FROM @tickets WHERE ticket = ?
        AND (expires <= @now OR ? = 1) RETURNING ticket]], { seen.ticket, ended and 1 or 0 })
    return removed[1] ~= nil
end

---@param ticket integer
function M.give_back(store, ticket)
    store:query("DELETE FROM @tickets WHERE ticket = ?", { ticket })
end

---@param run string
function M.forget_run(store, run)
    store:query("DELETE FROM @tickets WHERE run = ?", { run })
end

---Freezes a group: nobody takes it until the hold is released. One that is there stays as it is.
---@param name string
---@param reason string
---@return boolean # it was not there
function M.hold(store, name, reason)
    local own = process.own()
    local made = rows.insert(store, "@holds", {
        name = name, who = own.who, host = own.host, reason = reason,
        since = time.wall(),
    }, { tail = "ON CONFLICT (name) DO NOTHING RETURNING name" })
    return made[1] ~= nil
end

---@param name string
---@return boolean # there was one
function M.release_hold(store, name)
    return store:query("DELETE FROM @holds WHERE name = ? RETURNING name",
        { redacted(name) })[1] ~= nil
end

---@return {name: string, who?: string, host?: string, reason: string, since: number}[]
function M.holds(store)
    return store:query "SELECT * FROM @holds ORDER BY name"
end

---Tickets and holds as programs read them.
---@param waiting dgrun.store.ticket[] by group, the holder first
---@param holds table[]
---@return table
function M.data(waiting, holds)
    local list = json.array {}
    for i, row in ipairs(waiting) do
        list[i] = { group = row.name, state = row.state, run = row.run, who = row.who,
            host = row.host, pid = row.pid, reason = row.reason, step = row.step,
            since = row.since or row.queued, expires_in = row.left,
            superseded_by = row.superseded_by }
    end
    local frozen = json.array {}
    for i, hold in ipairs(holds) do
        frozen[i] = { group = hold.name, who = hold.who, host = hold.host, reason = hold.reason,
            since = hold.since }
    end
    return { tickets = list, holds = frozen }
end

return M
