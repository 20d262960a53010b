-- The revisions that a database is at, read without Python.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local task = require "dgrun.core.task"

local M = {}

local CONNECT_SECONDS = 15

local queries = {}

function queries.sqlite(_, place)
    if not place.path or not fs.exists(place.path) then
        return {}
    end
    -- Not for reading alone: what a migration that was killed had begun must be rolled back first,
    -- as SQLite does for whoever may write. https://www.sqlite.org/lockingv3.html#hot_journals
    local db = check(require("host.sqlite").open(place.path, { create = false }))
    local rows, e = db:query(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
    if rows and #rows > 0 then
        rows, e = db:query("SELECT version_num FROM alembic_version")
    end
    db:close()
    if err.is(e, "sqlite.read_only") then
        e.msg = place.path .. ": a process was killed while writing it"
        e.hint = "A run rolls the transaction back; a plan or a user without write access cannot."
    end
    return check(rows, e)
end

function queries.postgresql(database)
    local url = dburl.libpq(database)
    return task.timeout(CONNECT_SECONDS, function()
        local connection = check(require("host.postgres").connect { url = url, read_only = true })
        local found = check(connection:query(
            "SELECT to_regclass('alembic_version') IS NOT NULL AS there"))
        local rows = found[1].there == "t"
            and check(connection:query("SELECT version_num FROM alembic_version")) or {}
        connection:close()
        return rows
    end)
end

---@param database userdata|string
---@param dir? string what a relative path of SQLite counts from
---@return string[] # sorted
function M.read(database, dir)
    local place = check(dburl.parse(database))
    local query = queries[place.dialect]
    if not query then
        err.raise { code = "migrations.unsupported_database", op = "migrations.current",
            msg = ("%s databases are not supported"):format(place.dialect),
            hint = "Supported databases: postgresql and sqlite." }
    end
    if place.dialect == "sqlite" and place.path and place.path:sub(1, 1) ~= "/" and dir then
        place.path = dir / place.path
    end
    local ids = {}
    for i, row in ipairs(query(database, place)) do
        ids[i] = row.version_num
    end
    table.sort(ids)
    return ids
end

return M
