-- The journal: what a run intends before it does it, and what became of it. Times are those of this
-- computer. Every write may be made twice. An attempt of a run that was given up for dead and comes
-- back changes nothing of a later one.
local err = require "dgrun.core.err"
local fs = require "host.fs"
local host = require "host.git"
local json = require "dgrun.core.json"
local process = require "dgrun.core.process"
local rows = require "dgrun.run.store_rows"
local time = require "host.time"

local M = {}

local SOURCE_LIMIT = 256 * 1024

local function wall()
    return time.wall()
end

---What the project's repository is at; nil where there is none.
---@param root string
---@return string?
function M.head_of(root)
    local found = host.resolve { dir = root, ref = "HEAD", remote = "origin" }
    return found and found.commit or nil
end

---A script's path in its project.
local function below(root, script)
    local path = script and fs.absolute(script)
    return path and path:sub(1, #root + 1) == root .. "/" and path:sub(#root + 2) or path
end

---Arguments that hold a secret are not kept: masked ones would be others.
local function arguments_of(r)
    if not r.arguments then
        return nil
    end
    local text = json.encode(json.array(r.arguments))
    return rows.redacted(text) == text and text or nil
end

---@param store dgrun.store
---@param r dgrun.run
function M.run_start(store, r)
    local own = process.own()
    rows.insert(store, "@runs", {
        id = r.id, name = r.name, script = below(r.root, r.script), input = rows.data(r.input),
        sandbox = r.sandbox and 1 or 0, host = own.host, pid = own.pid, machine = own.machine,
        process = own.process, who = own.who, status = "running", started = r.started_at,
        root = r.root, dir = rawget(r, "dir"), attempt = 1,
        arguments = arguments_of(r),
        source = r.source and #r.source <= SOURCE_LIMIT and r.source or nil,
        commit_id = M.head_of(r.root), lease = r.lease and r.lease.name,
    }, { tail = "ON CONFLICT (id) DO NOTHING" })
end

---What is only known after the start of a run: its folder, its status while it waits.
---@param row table<string, any>
function M.run_note(store, r, row)
    rows.update(store, "@runs", row, "id = ?", { r.id })
end

function M.run_end(store, r)
    rows.update(store, "@runs", {
        status = r.status, finished = wall(), error = rows.error_data(r.error),
    }, "id = ? AND attempt = ?", { r.id, r.attempt })
    if r.status == "done" then
        store:query("UPDATE @effects SET status = 'settled' WHERE run = ? AND status = 'unknown'",
            { r.id })
    end
end

function M.step_start(store, r, step)
    rows.insert(store, "@steps", {
        run = r.id, seq = step.seq, name = step.name, status = "running", started = wall(),
        attempt = r.attempt,
    }, {
        tail = [[ON CONFLICT (run, seq) DO UPDATE SET status = excluded.status,
            started = excluded.started, attempt = excluded.attempt, finished = NULL,
            result = NULL, error = NULL]],
    })
end

function M.step_end(store, r, step)
    rows.update(store, "@steps", {
        status = step.status, finished = wall(), result = rows.data(step.result),
        error = rows.error_data(step.error), files = step.files and rows.data(step.files),
    }, "run = ? AND seq = ? AND attempt = ?", { r.id, step.seq, r.attempt })
    if step.status == "done" then
        store:query([[UPDATE @effects SET status = 'settled'
            WHERE run = ? AND step = ? AND status = 'unknown']], { r.id, step.seq })
    end
end

---The intent of an effect. A run that holds a group writes it only while it does: who lost it can
---begin nothing any more.
function M.effect_intent(store, r, e)
    local row = {
        run = r.id, seq = e.seq, step = e.step and e.step.seq, kind = e.kind, target = e.target,
        summary = e.summary, before = rows.data(e.before), after = rows.data(e.after),
        status = "intent", started = wall(), attempt = r.attempt, once = e.once,
    }
    local lease = r.lease
    if not lease then
        return rows.insert(store, "@effects", row, { tail = "ON CONFLICT (run, seq) DO NOTHING" })
    end
    local written = rows.insert(store, "@effects", row, {
        where = "EXISTS (SELECT 1 FROM @tickets WHERE ticket = ? AND state = 'holding')",
        values = { lease.ticket },
        -- Made twice because its answer was lost, it is there: that is a success, too.
        tail = "ON CONFLICT (run, seq) DO UPDATE SET status = excluded.status RETURNING seq",
    })
    if not written[1] then
        err.raise(lease.lost_error())
    end
end

function M.effect_end(store, r, e)
    rows.update(store, "@effects", {
        status = e.status, finished = wall(), result = rows.data(e.result),
        error = rows.error_data(e.error),
    }, "run = ? AND seq = ?", { r.id, e.seq })
end

local function decoded(row, names)
    for _, name in ipairs(names) do
        if row[name] then
            row[name] = json.decode(row[name]) -- which may be false
        end
    end
    return row
end

---A run as it was journaled.
---@param id string
---@return table? run nil when there is none
function M.run(store, id)
    local found = store:query("SELECT * FROM @runs WHERE id = ?", { id })[1]
    return found and decoded(found, { "input", "arguments", "error" })
end

---@return table[] # in their order
function M.steps(store, id)
    local list = store:query("SELECT * FROM @steps WHERE run = ? ORDER BY seq", { id })
    for _, row in ipairs(list) do
        decoded(row, { "result", "error", "files" })
    end
    return list
end

---@return table[] # in their order
function M.effects(store, id)
    local list = store:query("SELECT * FROM @effects WHERE run = ? ORDER BY seq", { id })
    for _, row in ipairs(list) do
        decoded(row, { "before", "after", "result", "error" })
    end
    return list
end

---Runs of a project on this computer that may have left a folder.
---@param root string
---@return table[] # rows
function M.with_folder(store, root)
    return store:query([[SELECT id, name, dir, status, attempt, started, machine, process, pid
        FROM @runs WHERE dir IS NOT NULL AND machine = ? AND root = ?
        ORDER BY started DESC LIMIT 100]],
        { process.own().machine, root })
end

---Takes the folder out of a run's row; false when the run was resumed meanwhile.
---@param id string
---@param attempt integer
---@return boolean
function M.forget_folder(store, id, attempt)
    return store:query(
        "UPDATE @runs SET dir = NULL WHERE id = ? AND attempt = ? RETURNING id",
        { id, attempt })[1] ~= nil
end

---Makes this process the one that goes on with a run; false when another one came first.
---@param row table the run as it was found
---@return boolean
function M.claim(store, row)
    local own = process.own()
    local taken = rows.update(store, "@runs", {
        status = "running", attempt = row.attempt + 1, host = own.host, pid = own.pid,
        machine = own.machine, process = own.process, who = own.who,
    }, "id = ? AND attempt = ? RETURNING id", { row.id, row.attempt })
    if not taken[1] then
        local now = M.run(store, row.id)
        if now.attempt ~= row.attempt + 1 or now.machine ~= own.machine
            or now.process ~= own.process or now.pid ~= own.pid then
            return false
        end
    end
    store:query("UPDATE @runs SET finished = NULL, error = NULL WHERE id = ?", { row.id })
    store:query([[UPDATE @effects SET status = 'unknown'
        WHERE run = ? AND status IN ('intent', 'interrupted')]], { row.id })
    return true
end

return M
