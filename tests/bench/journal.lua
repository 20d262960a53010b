-- How fast effects are journaled, against the `sqlite3` program with the same statements and rows:
--   dgrun tests/bench/journal.lua [effects] [rounds]
-- Each effect is two durable transactions, its intent and its outcome. Both write to the same file
-- and take turns, so that what else the disk does hits both alike; the median counts.
local dg = require "dgrun"
local fs = require "host.fs"
local journal = require "dgrun.run.journal"
local store_of = require "dgrun.run.store"
local task = require "dgrun.core.task"
local time = require "host.time"

local effects, rounds = tonumber((...)) or 200, tonumber((select(2, ...))) or 21
local dir = assert(fs.temp_dir "journal")
task.defer(function() fs.remove(dir, { recursive = true }) end)

local function a_run(i)
    return { id = ("20260801-100102-%04d"):format(i), name = "deploy", root = dir, input = {},
        started_at = time.wall(), attempt = 1, status = "running" }
end

local function an_effect(seq)
    return { seq = seq, kind = "fly.machine.update", target = "draft-app-prod/1781" .. seq,
        summary = ("update machine 1781%d of draft-app-prod"):format(seq), status = "done",
        before = { image = "registry.fly.io/draft-app-prod:v1.1.0", env = { LOG = "info" } },
        after = { image = "registry.fly.io/draft-app-prod:v1.2.0", env = { LOG = "info" } },
        result = { id = "1781" .. seq, state = "started" } }
end

local function write_effects(store, r)
    for seq = 1, effects do
        local e = an_effect(seq)
        journal.effect_intent(store, r, e)
        journal.effect_end(store, r, e)
    end
end

local function literal(value)
    if type(value) == "number" then
        return value % 1 == 0 and ("%.0f"):format(value) or ("%.17g"):format(value)
    end
    return "'" .. value:gsub("'", "''") .. "'"
end

---What the store asks SQLite to do for these effects, as text for the program.
local function statements_of(store, r)
    local lines = {
        "PRAGMA journal_mode = WAL;", "PRAGMA synchronous = FULL;", "PRAGMA foreign_keys = ON;",
    }
    write_effects(setmetatable({ query = function(_, sql, values)
        local at = 0
        lines[#lines + 1] = sql:gsub("@", ""):gsub("%?", function()
            at = at + 1
            return (literal(values[at]))
        end) .. ";"
        return { {} }
    end }, { __index = store }), r)
    return table.concat(lines, "\n")
end

local function median(values)
    table.sort(values)
    return values[math.ceil(#values / 2)]
end

-- So that neither is the last one, which clears the log away.
local other_user = store_of.open(dir)
local own, theirs, ratios = {}, {}, {}
for round = 1, rounds do
    local store = store_of.open(dir)
    local mine, other = a_run(2 * round), a_run(2 * round + 1)
    journal.run_start(store, mine)
    journal.run_start(store, other)
    local input = statements_of(store, other)
    local function by_store()
        local started = time.now()
        write_effects(store, mine)
        own[round] = 2 * effects / (time.now() - started)
    end
    local function by_program()
        local result = dg.proc.run { argv = { "sqlite3", "-bail", dir / ".dgrun/state.db" },
            stdin = input, read_only = true }
        assert(result.status == 0, result.stderr)
        theirs[round] = 2 * effects / result.seconds
    end
    if round % 2 == 0 then
        by_store()
        by_program()
    else
        by_program()
        by_store()
    end
    store:close()
    ratios[round] = own[round] / theirs[round]
end

local written = other_user:query "SELECT count(*) AS n FROM @effects WHERE status = 'done'"
other_user:close()
assert(written[1].n == 2 * rounds * effects, "not all effects were written")
print(("dgrun's store  %7.0f rows/s"):format(median(own)))
print(("sqlite3        %7.0f rows/s"):format(median(theirs)))
print(("ratio          %7.2f"):format(median(ratios)))
