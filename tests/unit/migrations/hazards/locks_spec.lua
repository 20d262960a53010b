-- The table of locks against a server: what pg_locks shows after each statement.
local facts = require "dgrun.migrations.hazards.facts"
local locks = require "dgrun.migrations.hazards.locks"
local postgres = require "support.postgres"
local statements = require "dgrun.migrations.hazards.statements"
local time = require "host.time"

-- A server has a part in it: its time does not jump.
before_each(function() time.pause(false) end)

local schema = [[
CREATE TABLE team (id integer PRIMARY KEY, name varchar(20), code text DEFAULT 'x');
CREATE TABLE player (id integer PRIMARY KEY, team_id integer, number integer NOT NULL,
    CONSTRAINT positive CHECK (number > 0) NOT VALID);
CREATE TABLE season (id integer, year integer) PARTITION BY LIST (year);
CREATE TABLE season_2025 PARTITION OF season FOR VALUES IN (2025);
CREATE TABLE season_2026 (id integer, year integer);
CREATE INDEX by_number ON player (number);
CREATE MATERIALIZED VIEW numbers AS SELECT number FROM player;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER does_nothing AFTER INSERT ON player EXECUTE FUNCTION nothing();
]]

-- Those in a transaction. PostgreSQL takes CONCURRENTLY only outside of one.
local cases = {
    "ALTER TABLE team ADD COLUMN city text",
    "ALTER TABLE team DROP COLUMN code",
    "ALTER TABLE team ALTER COLUMN name SET NOT NULL",
    "ALTER TABLE player ALTER COLUMN number DROP NOT NULL",
    "ALTER TABLE team ALTER COLUMN name SET DEFAULT 'a'",
    "ALTER TABLE team ALTER COLUMN code DROP DEFAULT",
    "ALTER TABLE team ALTER COLUMN name TYPE text",
    "ALTER TABLE team ALTER COLUMN name SET STATISTICS 100",
    "ALTER TABLE team SET (fillfactor = 70)",
    "ALTER TABLE team ADD CONSTRAINT named UNIQUE (name)",
    "ALTER TABLE team ADD CONSTRAINT short CHECK (length(name) < 9)",
    "ALTER TABLE team ADD CONSTRAINT short CHECK (length(name) < 9) NOT VALID",
    "ALTER TABLE player ADD CONSTRAINT of_team FOREIGN KEY (team_id) REFERENCES team (id)",
    "ALTER TABLE player ADD CONSTRAINT of_team FOREIGN KEY (team_id) REFERENCES team NOT VALID",
    "ALTER TABLE player ADD COLUMN other integer REFERENCES team (id)",
    "CREATE TABLE coach (id integer, team_id integer REFERENCES team (id))",
    "ALTER TABLE player VALIDATE CONSTRAINT positive",
    "ALTER TABLE player DROP CONSTRAINT positive",
    "ALTER TABLE team RENAME COLUMN name TO title",
    "ALTER TABLE team RENAME TO club",
    "ALTER TABLE team SET UNLOGGED",
    "ALTER TABLE player DISABLE TRIGGER does_nothing",
    "ALTER TABLE player DISABLE TRIGGER ALL",
    "ALTER TABLE season ATTACH PARTITION season_2026 FOR VALUES IN (2026)",
    "ALTER TABLE season DETACH PARTITION season_2025",
    "CREATE TABLE season_2027 PARTITION OF season FOR VALUES IN (2027)",
    "CREATE INDEX by_name ON team (name)",
    "CREATE UNIQUE INDEX by_name ON team (name)",
    "REINDEX TABLE player",
    "REFRESH MATERIALIZED VIEW numbers",
    "CREATE TRIGGER again AFTER INSERT ON team EXECUTE FUNCTION nothing()",
    "UPDATE team SET name = 'a'",
    "DELETE FROM team",
    "TRUNCATE player",
    "LOCK TABLE team IN SHARE MODE",
    "LOCK TABLE team",
    "DROP TABLE team",
}

local number_of = {}
for number, name in ipairs(locks.modes) do
    number_of[name] = number
end

---The strongest lock on each table, by what the judge reads in a statement.
local function judged(sql)
    local strongest = {}
    for _, unit in ipairs(statements.split(sql, "postgresql")) do
        for _, fact in ipairs(facts.of(unit, "postgresql")) do
            local name = fact.table or fact.kind == "refresh" and fact.object
            local mode = name and locks.of(fact)
            if mode then
                strongest[name] = math.max(strongest[name] or 0, mode)
            end
        end
    end
    return strongest
end

---The same, by the server, of the tables that were there before.
local function taken(connection, sql)
    assert(connection:query "BEGIN")
    local names = assert(connection:query [[SELECT oid, relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm')]])
    assert(connection:query(sql))
    local rows = assert(connection:query [[SELECT relation, mode FROM pg_locks
        WHERE locktype = 'relation' AND pid = pg_backend_pid()]])
    assert(connection:query "ROLLBACK")
    local name_of, strongest = {}, {}
    for _, row in ipairs(names) do
        name_of[row.oid] = row.relname
    end
    for _, row in ipairs(rows) do
        local name = name_of[row.relation]
        local mode = row.mode:gsub("Lock$", ""):gsub("(%l)(%u)", "%1 %2"):upper()
        if name then
            strongest[name] = math.max(strongest[name] or 0, (assert(number_of[mode], mode)))
        end
    end
    return strongest
end

describe("the table of locks", function()
    it("says what the server takes", function()
        local server = postgres.start()
        local connection = assert(require("host.postgres").connect { url = server.url })
        for sql in schema:gmatch "(.-);\n" do
            assert(connection:query(sql))
        end
        local wrong = {}
        for _, sql in ipairs(cases) do
            local found, real = judged(sql), taken(connection, sql)
            assert.is_not_nil(next(found), sql)
            for name in pairs(real) do
                local names = { locks.modes[found[name]] or "nothing", locks.modes[real[name]] }
                -- What stops nobody from writing may be missing.
                if names[1] ~= names[2] and (found[name] or real[name] >= number_of.SHARE) then
                    table.insert(wrong,
                        ("%s: on %s %s, not %s"):format(sql, name, names[2], names[1]))
                end
            end
            for name in pairs(found) do
                assert.is_not_nil(real[name], sql .. ": nothing on " .. name)
            end
        end
        assert.same({}, wrong)
        connection:close()
    end)
end)
