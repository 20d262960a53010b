local fs = require "host.fs"
local hazards = require "dgrun.migrations.hazards"
local matrix = require "support.matrix"
local offline = dofile "tests/unit/migrations/hazards/offline.lua"

local function judge(sql, over)
    local opts = { sql = sql, dialect = "postgresql", lock_timeout = true }
    for name, value in pairs(over or {}) do
        opts[name] = value
    end
    return hazards.judge(opts)
end

local function rules_of(sql, over)
    local result, rules = judge(sql, over), {}
    for i, finding in ipairs(result.findings) do
        rules[i] = finding.rule
    end
    return table.concat(rules, " "), result.class
end

local function code_of(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e.code, e
end

local sample = "tests/fixtures/draftguru/alembic/versions"

describe("the reading of SQL", function()
    it("sees no statement in comments, strings and quoted names", function()
        for _, text in ipairs {
            "-- DROP TABLE a;\nSELECT 1", "/* DROP /* TABLE */ a; DROP TABLE b; */ SELECT 1",
            "SELECT 'x''; DROP TABLE a; --'", [[SELECT E'\'; DROP TABLE a; --']],
            "SELECT $$; DROP TABLE a; $$", "SELECT $a$ $$; DROP TABLE a; $b$ $a$",
            [[SELECT ";DROP TABLE a;"" "]], [[SELECT U&"; DROP TABLE a"]], "SELECT N'; DROP TABLE'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN "
                .. "1 END; DELETE FROM a; END",
            "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; SELECT 1)",
            ";;; ;", "",
        } do
            assert.equal("", rules_of(text), text)
        end
    end)

    it("sees the statement behind them", function()
        for _, text in ipairs {
            [[SELECT '\'; DROP TABLE a; --']], "/* /* */ */ DROP TABLE a", "SELECT 1;DROP TABLE a",
            "SELECT $1; DROP TABLE a; SELECT $1", "SELECT a$b$; DROP TABLE a; SELECT b$b$",
            "dRoP tAbLe IF EXISTS a CASCADE", "DROP/**/TABLE--x\na",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END; DROP TABLE a",
        } do
            assert.equal("ban-drop-table", rules_of(text), text)
        end
    end)

    it("reports a statement that does not parse, and judges the others", function()
        for text, rules in pairs {
            ["((("] = "not-understood", [")))"] = "not-understood",
            ["'' ; \"\""] = "not-understood not-understood",
            ["SELECT $1$; DROP TABLE a"] = "not-understood ban-drop-table",
            ["DROP TABLE a; ALTER TABLE b DROP COLUMNS c; TRUNCATE d"] =
                "ban-drop-table not-understood-that-drops truncate",
            ['SELECT 1; SELECT é, ""; DROP TABLE a'] = "not-understood ban-drop-table",
            ["SELECT 1\0; DROP TABLE a"] = "not-understood ban-drop-table",
            ["SELECT :name; DROP TABLE a"] = "not-understood ban-drop-table",
        } do
            assert.equal(rules, rules_of(text), text)
        end
        local finding = judge("SELECT 1;\nSELEKT 2").findings[1]
        assert.same({ 2, "SELEKT 2" }, { finding.line, finding.statement })
        assert.matches('syntax error at or near "SELEKT"', finding.detail)
    end)

    it("reads the body of a DO as far as it is plain SQL", function()
        for body, rules in pairs {
            ["IF x THEN DROP TABLE a; END IF; UPDATE b SET c = 1;"] =
                "ban-drop-table update-without-where",
            ["EXECUTE 'DROP TABLE a';"] = "ban-drop-table",
            ["CREATE TYPE m AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL;"] = "",
            ["FOR r IN SELECT * FROM t LOOP DELETE FROM a WHERE b = r.b; END LOOP;"] =
                "delete-rows",
            ["EXECUTE format('DROP TABLE %I', x);"] = "opaque-code-that-drops",
            ["EXECUTE x;"] = "opaque-code",
            ["IF IF IF"] = "opaque-code",
        } do
            assert.equal(rules, rules_of("DO $$ DECLARE r record; x text; BEGIN "
                .. body .. " END $$"), body)
        end
        assert.equal("opaque-code", rules_of("DO LANGUAGE plpython3u $$ x = 1 $$"))
    end)

    it("gives each finding its line, statement and revision", function()
        local findings = judge("BEGIN;\n-- Running upgrade  -> a1\n\nDROP TABLE\n  x;\n"
            .. "-- Running upgrade a1, b1 -> c1\nDROP TABLE y;\n"
            .. "-- Running downgrade c1 -> a1\nDROP TABLE z;").findings
        assert.same({ 4, 7, 9 }, { findings[1].line, findings[2].line, findings[3].line })
        assert.same({ "a1", "c1", "c1" },
            { findings[1].revision, findings[2].revision, findings[3].revision })
        assert.equal("DROP TABLE x", findings[1].statement)
        assert.equal("x", findings[1].object)
        assert.is_nil(judge("DROP TABLE x").findings[1].revision)
        local long = judge("UPDATE a SET b = '" .. ("é"):rep(500) .. "'").findings[1].statement
        assert.is_true(#long < 260)
        assert.matches("é…$", long)
    end)

    it("refuses what has no end, and what is too long", function()
        for _, text in ipairs { "SELECT 'a", 'SELECT "a', "/* /* */", "$$ a $", "$a$ $$",
            "E'\\'" } do
            assert.equal("hazards.unterminated", code_of(judge, text), text)
        end
        local _, e = code_of(judge, "SELECT 1;\n\n'a")
        assert.equal(3, e.line)
        assert.equal("hazards.too_large", code_of(judge, (" "):rep(2 * 1024 * 1024 + 1)))
        assert.equal("hazards.unsupported_dialect", code_of(judge, "", { dialect = "mysql" }))
    end)

    it("raises only its own errors, whatever the bytes", function()
        math.randomseed(7)
        local words = { "ALTER TABLE a ", "ADD ", "COLUMN ", "DROP ", "(", ")", ",", ";", "'", '"',
            "CREATE ", "INDEX ", "ON ", "DEFAULT ", "x", ".", "$$", "/*", "*/", "--", "\n", "NOT ",
            "NULL ", "VALID ", "WITH ", "DELETE FROM ", "UPDATE ", "SET ", "TYPE ", "lock_timeout ",
            "=", "CONSTRAINT ", "CHECK ", "REFERENCES ", "BEGIN ", "END ", "ATOMIC ", "FUNCTION ",
            "SELECT ", "INTO ", "set_config", "VACUUM ", "FULL ", "REINDEX ", "DO ", "RENAME ",
            "TO ", "TABLE ", "CREATE TABLE ", "GENERATED ALWAYS AS ", "PARTITION OF ", "LOCK ",
            "IN ", "::", "cluster ", "default ", "TRIGGER ", "search_path ", "DOMAIN ", "EXISTS " }
        for round = 1, matrix.pick(2000, 6000) do
            local parts = {}
            for i = 1, math.random(30) do
                parts[i] = round % 3 == 0 and string.char(math.random(0, 255))
                    or words[math.random(#words)]
            end
            local text = table.concat(parts)
            for _, dialect in ipairs { "postgresql", "sqlite" } do
                local ok, e = pcall(judge, text, { dialect = dialect, lock_timeout = false })
                assert.is_true(ok or tostring(e.code):match("^hazards%.") ~= nil,
                    ("%q: %s"):format(text, tostring(e.msg or e)))
            end
            local ok, e = pcall(hazards.accepted_in, "# dgrun: accept " .. text)
            assert.is_true(ok or tostring(e.code):match("^hazards%.") ~= nil, text)
        end
    end)

    -- How long it takes: tests/bench/hazards.lua.
    it("ends with a large text", function()
        local insert = "INSERT INTO a (b) VALUES ('cccccccccccccccccccc');\n"
        assert.equal("", rules_of(insert:rep(40000)))
        assert.equal("", rules_of(("/* */"):rep(100000)))
        for _, text in ipairs {
            ("("):rep(1000000),
            "SELECT " .. ("((1,"):rep(100000),
            "ALTER TABLE a ADD b int DEFAULT " .. ("("):rep(300000),
            "WITH a AS " .. ("(WITH a AS "):rep(100),
        } do
            assert.equal("not-understood", (rules_of(text)))
        end
    end)
end)

describe("what is new", function()
    it("is no hazard, by any spelling of its name", function()
        for _, names in ipairs {
            { "a", "A" }, { "a", '"a"' }, { "public.a", "a" }, { '"public"."a"', "PUBLIC.a" },
            { '"A b"', '"A b"' }, { "app.a", '"app".a' }, { "db.app.a", "app.a" },
        } do
            assert.equal("", rules_of(("CREATE TABLE IF NOT EXISTS %s (id int); CREATE INDEX i ON "
                .. "%s (id); ALTER TABLE ONLY %s ADD UNIQUE (id); DROP TABLE %s"):format(names[1],
                names[2], names[2], names[2])), names[2])
        end
    end)

    it("is not what has only a similar name", function()
        for _, names in ipairs {
            { "a", '"A"' }, { "app.a", "a" }, { "a", "app.a" }, { '"app.a"', "app.a" },
        } do
            assert.equal("ban-drop-table", rules_of(("CREATE TABLE %s (id int); DROP TABLE %s")
                :format(names[1], names[2])), names[2])
        end
        assert.equal("ban-drop-table", rules_of("CREATE TABLE a (id int); DROP TABLE a; "
            .. "DROP TABLE a"))
        assert.equal("ban-drop-table", rules_of("CREATE TABLE a (id int); SET search_path = other; "
            .. "DROP TABLE a"))
    end)

    it("stays new by another name; a table made of a query is new", function()
        assert.equal("", rules_of("CREATE TABLE a (id int); ALTER TABLE a RENAME TO b; "
            .. "DROP TABLE b; CREATE TEMP TABLE c AS SELECT 1; DROP TABLE c; "
            .. "SELECT 1 INTO d; TRUNCATE d"))
    end)

    it("holds over all revisions of an upgrade", function()
        local sql = offline.sql("postgresql://u:p@h/d", {
            'op.create_table("n", sa.Column("id", sa.Integer, primary_key=True), '
                .. 'sa.Column("u", sa.String(9), unique=True, index=True))',
            'op.create_index("ix", "n", ["u"])\nop.alter_column("n", "u", nullable=False)',
        })
        assert.same({ "", "additive" }, { rules_of(sql) })
    end)
end)

describe("columns that are added", function()
    local function added(column)
        return (rules_of("ALTER TABLE a ADD COLUMN IF NOT EXISTS b " .. column .. ", ADD c int"))
    end

    it("may have a default that is computed once", function()
        for _, default in ipairs {
            "now()", "CURRENT_TIMESTAMP", "timezone('utc', now())", "'x'::varchar(3)",
            "CAST('1' AS numeric(3, 1))", "'{}'::jsonb", "(1 + 2)", "E'\\n'", "NULL", "true",
            "'a'::character varying(3)", "pg_catalog.now()", "ARRAY[]::integer[]",
        } do
            assert.equal("", added("text DEFAULT " .. default), default)
        end
    end)

    it("have a hazard in one that is not", function()
        for _, default in ipairs {
            "random()", "gen_random_uuid()", "clock_timestamp()", "uuid_generate_v4()",
            "nextval('s')", "coalesce(null, random())", "my.now()", '"f"()',
        } do
            assert.equal("adding-field-with-default", added("text DEFAULT " .. default), default)
        end
    end)

    it("need a value when they must have one", function()
        assert.equal("adding-required-field", added("text NOT NULL"))
        assert.equal("adding-required-field", added("text DEFAULT NULL NOT NULL"))
        assert.equal("", added("numeric(10, 2) DEFAULT 0 NOT NULL"))
        assert.equal("add-column-serial", added("bigserial NOT NULL"))
        assert.equal("", added("text GENERATED ALWAYS AS (lower(x)) VIRTUAL"))
    end)

    it("may bring constraints along", function()
        assert.equal("disallowed-unique-constraint", added("int UNIQUE"))
        assert.equal("add-column-serial adding-serial-primary-key-field",
            added("serial PRIMARY KEY"))
        assert.equal("adding-foreign-key-constraint", added("int REFERENCES u (id)"))
        assert.equal("constraint-missing-not-valid", added("int CONSTRAINT k CHECK (b > 0)"))
    end)

    it("have a type of fixed length, or not", function()
        assert.equal("ban-char-field", added("character(3)"))
        assert.equal("", added("character varying(3)"))
        assert.equal("ban-char-field", rules_of("CREATE TABLE a (b CHAR(2) NOT NULL, c text)"))
    end)
end)

describe("types that change", function()
    local function changed(old, new)
        return rules_of("ALTER TABLE a ALTER COLUMN b TYPE " .. new,
            { columns = { ["a.b"] = old } }) == ""
    end

    it("leave the table alone when they only widen", function()
        for old, new in pairs {
            ["varchar(10)"] = "character varying(20)", ["varchar(11)"] = "text", text = "varchar",
            ["numeric(5,2)"] = "numeric(8, 2)", cidr = "inet", ["varchar(12)"] = "varchar",
            ["varbit(3)"] = "bit varying(4)", ["VARCHAR(9)"] = "varchar(9)",
        } do
            assert.is_true(changed(old, new), old .. " to " .. new)
        end
    end)

    it("write it anew otherwise", function()
        for old, new in pairs {
            ["varchar(20)"] = "varchar(10)", text = "varchar(10)", integer = "bigint",
            ["numeric(5,2)"] = "numeric(8,3)", ["char(3)"] = "text", ["varchar(3)"] = "varchar(2)",
            ["varchar(10)"] = "text USING b::text", varchar = 'text COLLATE "C"', inet = "cidr",
        } do
            assert.is_false(changed(old, new), old .. " to " .. new)
        end
        assert.is_false(changed(nil, "text"))
    end)
end)

describe("the lock timeout", function()
    local function said(sql, given)
        return (rules_of(sql, { lock_timeout = given or false })):find("timeout") ~= nil
    end
    local add = "ALTER TABLE a ADD COLUMN b int;"

    it("is missed once, where a lock is taken on what exists", function()
        local rules = rules_of(add .. add, { lock_timeout = false })
        assert.equal("require-timeout-settings", rules)
        assert.is_true(said("CREATE TABLE b (a_id int REFERENCES a (id))"))
        assert.is_true(said("SET lock_timeout = 0;" .. add))
        assert.is_true(said("BEGIN; SET LOCAL lock_timeout = '5s'; COMMIT;" .. add))
        assert.is_true(said("SET LOCAL lock_timeout = '5s';" .. add), "no transaction")
        assert.is_true(said("SET lock_timeout = '0ms';" .. add))
        assert.is_true(said("SET lock_timeout TO 0;" .. add, true))
    end)

    it("is set by the caller or by the SQL", function()
        assert.is_false(said(add, true))
        assert.is_false(said("SET lock_timeout TO '5s';" .. add))
        assert.is_false(said("BEGIN; SET LOCAL lock_timeout = 5000;" .. add))
        assert.is_false(said("SELECT set_config('lock_timeout', '5s', false);" .. add))
        assert.is_false(said("RESET lock_timeout;" .. add, true))
        assert.is_false(said("CREATE TABLE b (id int); ALTER TABLE b ADD c int"))
        assert.is_false(said("CREATE INDEX CONCURRENTLY i ON a (b); SELECT 1; UPDATE a SET b = 1 "
            .. "WHERE c; ALTER TABLE a VALIDATE CONSTRAINT x"))
    end)
end)

describe("rows that change", function()
    it("are all of them, with no WHERE or with one that leaves nothing out", function()
        assert.equal("update-without-where", rules_of("UPDATE a SET b = (SELECT 1 WHERE c)"))
        assert.equal("update-without-where", rules_of("UPDATE ONLY a SET b = 1 WHERE true"))
        assert.equal("delete-without-where", rules_of("DELETE FROM a WHERE 1 = 1"))
        assert.equal("delete-without-where", rules_of("WITH x AS (SELECT 1) DELETE FROM a"))
        assert.equal("update-without-where", rules_of("WITH x AS MATERIALIZED (UPDATE a SET b = 1 "
            .. "RETURNING b) SELECT * FROM x WHERE b"))
        assert.equal("", rules_of("SELECT 1 FROM a FOR UPDATE"))
        assert.equal("", rules_of("INSERT INTO a VALUES (1) ON CONFLICT (b) DO UPDATE SET b = 1"))
    end)

    it("are not those of Alembic's own table", function()
        assert.equal("", rules_of("DELETE FROM alembic_version WHERE alembic_version.version_num "
            .. "= 'a'; UPDATE s.my_versions SET version_num='b' WHERE "
            .. "s.my_versions.version_num = 'a'"))
        assert.equal("delete-without-where", rules_of("DELETE FROM version_num"))
    end)
end)

describe("what each form of a statement is about", function()
    it("is told by its object", function()
        for sql, wanted in pairs {
            ["ALTER TABLE IF EXISTS ONLY a DROP COLUMN IF EXISTS b, DROP CONSTRAINT c, DROP d"] =
                "ban-drop-column a.b, drop-constraint a.c, ban-drop-column a.d",
            ["ALTER TABLE a RENAME b TO c"] = "renaming-column a.b",
            ["ALTER TABLE a RENAME CONSTRAINT b TO c"] = "rename-object a.b",
            ["DROP FUNCTION IF EXISTS s.f(int, text) CASCADE"] = "drop-object s.f",
            ["DROP TRIGGER t ON s.a"] = "drop-object s.a.t",
            ["DROP TABLE a, s.b"] = "ban-drop-table a, ban-drop-table s.b",
            ["CREATE UNIQUE INDEX ON a USING gin (b)"] = "require-concurrent-index-creation a",
            ["CREATE INDEX i ON ONLY a (b)"] = "",
            ["ALTER TABLE a ADD UNIQUE (b) USING INDEX TABLESPACE c"] =
                "disallowed-unique-constraint a",
            ["ALTER MATERIALIZED VIEW v RENAME TO w"] = "rename-object v",
            ["ALTER TYPE t RENAME VALUE 'a' TO 'b'"] = "rename-object t",
            ["ALTER FUNCTION f(int) RENAME TO g"] = "rename-object f",
            ["ALTER TABLE a ALTER b SET DATA TYPE int"] = "changing-column-type a.b",
            ["LOCK a, b"] = "lock-table a, lock-table b",
            ["TRUNCATE ONLY a, b"] = "truncate a, truncate b",
            ["REINDEX (VERBOSE, CONCURRENTLY) TABLE a"] = "",
            ["REINDEX (CONCURRENTLY off) TABLE a"] = "reindex-not-concurrent a",
            ["VACUUM FULL a"] = "vacuum-full a", ["VACUUM (ANALYZE) a"] = "", ["VACUUM a"] = "",
            ["MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE"] = "delete-rows a",
            ["MERGE INTO a USING b ON c WHEN MATCHED AND d THEN UPDATE SET e = 1 "
                .. "WHEN NOT MATCHED THEN INSERT VALUES (1)"] = "update-rows a",
            ["CALL f()"] = "opaque-code nil", ["COMMENT ON TABLE a IS 'DROP TABLE a'"] = "",
            ["ALTER TABLE a ATTACH PARTITION b DEFAULT"] = "",
        } do
            local found = {}
            for i, finding in ipairs(judge(sql).findings) do
                found[i] = finding.rule .. " " .. tostring(finding.object)
            end
            assert.equal(wanted, table.concat(found, ", "), sql)
        end
    end)
end)

describe("acceptance", function()
    it("is read from the comments of a revision", function()
        assert.same({
            ["ban-drop-column"] = "nothing reads it: see #12", truncate = "it is a cache; again",
            ["changing-column-type"] = "wider",
        }, hazards.accepted_in('"""doc\n# dgrun: accept ban-drop-table: not a comment\n"""\n'
            .. "# dgrun: accept ban-drop-column: nothing reads it: see #12\n"
            .. "x = '# dgrun: accept ban-drop-table: nor this'\n"
            .. "y = r'\\'  # dgrun: accept ban-drop-table: nor this'\n"
            .. "def upgrade():\n    op.f()  # dgrun: accept truncate: it is a cache  \r\n"
            .. "#dgrun:accept truncate: again\n# dgrun: accept alter-column-type: wider\n"
            .. "# dgrun: acceptable\n# accept: nothing"))
        for _, name in ipairs(assert(fs.list(sample))) do
            assert.same({}, hazards.accepted_in(assert(fs.read(sample / name))))
        end
    end)

    it("needs a rule that exists, and a reason", function()
        for text, code in pairs {
            ["# dgrun: accept truncate"] = "no_reason",
            ["# dgrun: accept truncate:  "] = "no_reason",
            ["# dgrun: accept trunkate: x"] = "unknown_rule", ["# dgrun: accept"] = "no_rule",
            ["# dgrun: accept : x"] = "no_rule",
        } do
            assert.equal("hazards." .. code, code_of(hazards.accepted_in, text), text)
        end
        local _, e = code_of(hazards.accepted_in, "\n# dgrun: accept trunkate: x")
        assert.matches("line 2", e.msg)
        assert.matches("truncate", e.hint)
        for _, given in ipairs { { truncate = "" }, { truncate = true },
            { a1 = { truncate = " " } } } do
            assert.equal("hazards.no_reason", code_of(judge, "", { accepted = given }))
        end
        assert.equal("hazards.unknown_rule", code_of(judge, "", { accepted = { x = "y" } }))
    end)

    it("keeps the finding, with the reason, and the class", function()
        local result = judge("DROP TABLE a; TRUNCATE b",
            { accepted = { ["drop-table"] = "empty" } })
        assert.equal("empty", result.findings[1].accepted)
        assert.is_nil(result.findings[2].accepted)
        assert.equal("destructive", result.class)
    end)

    it("may be that of one revision", function()
        local findings = judge("-- Running upgrade  -> a1\nDROP TABLE x;\n"
            .. "-- Running upgrade a1 -> b1\nDROP TABLE y;",
            { accepted = { b1 = { ["ban-drop-table"] = "unused" } } }).findings
        assert.is_nil(findings[1].accepted)
        assert.equal("unused", findings[2].accepted)
    end)
end)

describe("SQLite", function()
    local batch = [[
news = sa.Table("news", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("url", sa.Text))
with op.batch_alter_table("news", copy_from=news) as table:
    table.%s]]

    local function sqlite(sql)
        return rules_of(sql, { dialect = "sqlite", lock_timeout = false })
    end

    it("has batches that write a table anew, which may hide a column", function()
        local sql = offline.sql("sqlite://", { batch:format('alter_column("url", nullable=False)'),
            batch:format('drop_column("url")') })
        local findings = hazards.judge { sql = sql, dialect = "sqlite" }.findings
        assert.same({ "batch-copy batch-copy", "rewriting" }, { sqlite(sql) })
        assert.equal("note", findings[1].severity)
        assert.equal("r002", findings[2].revision)
        assert.matches("cannot be seen", findings[1].why)
    end)

    it("has nothing to say of a batch on a table that is new, nor of locks", function()
        local sql = offline.sql("sqlite://", {
            'op.create_table("news", sa.Column("id", sa.Integer), sa.Column("url", sa.Text))\n'
                .. batch:format('alter_column("url", nullable=False)')
                .. '\nop.drop_table("news")',
            'op.create_index("ix", "users", ["name"])\nop.add_column("users", sa.Column("x", '
                .. 'sa.CHAR(1), server_default="0", nullable=False))',
        })
        assert.same({ "", "additive" }, { sqlite(sql) })
    end)

    it("loses what is dropped or renamed", function()
        for sql, rule in pairs {
            ["DROP TABLE [a b]"] = "ban-drop-table", ["ALTER TABLE `a` DROP b"] = "ban-drop-column",
            ["ALTER TABLE a RENAME TO b"] = "renaming-table", ["DROP VIEW v"] = "drop-object",
            ["CREATE TABLE _alembic_tmp_a (b); DROP TABLE a"] = "ban-drop-table",
            ["DELETE FROM a"] = "delete-without-where", ["DROP INDEX i"] = "drop-index",
            ["CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END; DROP TABLE a"] =
                "ban-drop-table",
            ["SELECT $$; DROP TABLE a; --$$"] = "ban-drop-table",
        } do
            assert.same({ rule, "destructive" }, { sqlite(sql) }, sql)
        end
        assert.same({ "", "additive" }, { sqlite("SELECT 1 /* no end") })
    end)
end)
