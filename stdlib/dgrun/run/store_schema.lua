-- The tables of the store, version by version, for both backends. `@runs` names a table, `@serial`
-- a number that counts up by itself. A version that was released is never changed.
local err = require "dgrun.core.err"

local M = {}

---The version this dgrun writes. A newer one is refused.
M.version = 2

---@type string[][]
M.versions = {
    {
        [[CREATE TABLE @runs (id TEXT PRIMARY KEY, name TEXT NOT NULL, script TEXT, input TEXT,
            sandbox BIGINT NOT NULL, host TEXT, pid BIGINT, status TEXT NOT NULL,
            started DOUBLE PRECISION NOT NULL, finished DOUBLE PRECISION, error TEXT)]],
        [[CREATE TABLE @steps (run TEXT NOT NULL REFERENCES @runs(id), seq BIGINT NOT NULL,
            name TEXT NOT NULL, status TEXT NOT NULL, started DOUBLE PRECISION NOT NULL,
            finished DOUBLE PRECISION, result TEXT, error TEXT, PRIMARY KEY (run, seq),
            UNIQUE (run, name))]],
        [[CREATE TABLE @effects (run TEXT NOT NULL REFERENCES @runs(id), seq BIGINT NOT NULL,
            step BIGINT, kind TEXT NOT NULL, target TEXT NOT NULL, summary TEXT NOT NULL,
            before TEXT, after TEXT, status TEXT NOT NULL, started DOUBLE PRECISION NOT NULL,
            finished DOUBLE PRECISION, result TEXT, error TEXT, PRIMARY KEY (run, seq))]],
        [[CREATE TABLE @kv (key TEXT PRIMARY KEY, value TEXT NOT NULL,
            changed DOUBLE PRECISION NOT NULL)]],
    },
    {
        -- Where a run came from, so that it can be told, and run again from where it was.
        [[ALTER TABLE @runs ADD COLUMN root TEXT]],
        [[ALTER TABLE @runs ADD COLUMN dir TEXT]],
        [[ALTER TABLE @runs ADD COLUMN machine TEXT]],
        [[ALTER TABLE @runs ADD COLUMN process TEXT]],
        [[ALTER TABLE @runs ADD COLUMN who TEXT]],
        [[ALTER TABLE @runs ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1]],
        [[ALTER TABLE @runs ADD COLUMN arguments TEXT]],
        [[ALTER TABLE @runs ADD COLUMN source TEXT]],
        [[ALTER TABLE @runs ADD COLUMN commit_id TEXT]],
        [[ALTER TABLE @runs ADD COLUMN lease TEXT]],
        [[ALTER TABLE @steps ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1]],
        [[ALTER TABLE @steps ADD COLUMN files TEXT]],
        [[ALTER TABLE @effects ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1]],
        [[ALTER TABLE @effects ADD COLUMN once TEXT]],
        [[CREATE INDEX runs_started ON @runs (started)]],
        -- Who holds a group, and who waits for it. A row lives as long as its run wants the group.
        [[CREATE TABLE @tickets (ticket @serial, name TEXT NOT NULL,
            run TEXT NOT NULL UNIQUE, state TEXT NOT NULL, who TEXT, host TEXT, machine TEXT,
            pid BIGINT, process TEXT, reason TEXT, queued DOUBLE PRECISION NOT NULL,
            since DOUBLE PRECISION, expires DOUBLE PRECISION NOT NULL, superseded_by TEXT)]],
        [[CREATE UNIQUE INDEX tickets_holder ON @tickets (name) WHERE state = 'holding']],
        [[CREATE TABLE @holds (name TEXT PRIMARY KEY, who TEXT, host TEXT, reason TEXT NOT NULL,
            since DOUBLE PRECISION NOT NULL)]],
    },
}

---@param version integer of what was found
---@param place string
function M.refuse_newer(version, place)
    if version > M.version then
        err.raise {
            code = "store.newer",
            msg = ("%s was written by a newer dgrun: its schema is %d, but this dgrun knows %d")
                :format(place, version, M.version),
            hint = "Use the newer dgrun, or set DGRUN_STORE to another store.",
        }
    end
end

return M
