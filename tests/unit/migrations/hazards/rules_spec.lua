local fs = require "host.fs"
local hazards = require "dgrun.migrations.hazards"
local offline = dofile "tests/unit/migrations/hazards/offline.lua"
local revisions = require "dgrun.migrations.revisions"
local source = require "dgrun.migrations.source"

local auto = "with op.get_context().autocommit_block():\n    "

---Of each rule: Python that it finds, Python that it does not, the class of the first.
local cases = {
    {
        "require-concurrent-index-creation", class = "rewriting",
        bad = [[op.create_index("ix_a", "news", ["url"])]],
        good = auto .. [[op.create_index("ix_a", "news", ["url"], postgresql_concurrently=True)]],
    },
    {
        "require-concurrent-index-deletion", class = "destructive",
        bad = [[op.drop_index("ix_b", "news")]],
        good = auto .. [[op.drop_index("ix_b", "news", postgresql_concurrently=True)]],
    },
    {
        "drop-index", class = "destructive",
        bad = auto .. [[op.drop_index("ix_c", "news", postgresql_concurrently=True)]],
        good = [[
op.create_index("ix_c", "news", ["url"])
op.drop_index("ix_c", "news")]],
    },
    {
        "reindex-not-concurrent", class = "rewriting",
        bad = [[op.execute("REINDEX INDEX ix_d")]],
        good = auto .. [[op.execute("REINDEX INDEX CONCURRENTLY ix_d")]],
    },
    {
        "ban-concurrent-index-creation-in-transaction", class = "additive",
        bad = [[op.create_index("ix_e", "news", ["url"], postgresql_concurrently=True)]],
        good = auto .. [[op.create_index("ix_e", "news", ["url"], postgresql_concurrently=True)]],
    },
    {
        "adding-required-field", class = "additive",
        bad = [[op.add_column("news", sa.Column("a", sa.Text, nullable=False))]],
        good = [[op.add_column("news", sa.Column("b", sa.Text, nullable=False,
    server_default="x"))]],
    },
    {
        "new-field-becomes-required", class = "additive",
        bad = [[
op.add_column("news", sa.Column("ba", sa.Text, nullable=False, server_default="x"))
op.alter_column("news", "ba", server_default=None)]],
        good = [[
op.add_column("news", sa.Column("bb", sa.Text, server_default="x"))
op.alter_column("news", "bb", server_default=None)
op.add_column("news", sa.Column("bc", sa.Text, nullable=False, server_default="x"))
op.alter_column("news", "bc", server_default="y")
op.create_table("fresh", sa.Column("bd", sa.Text, nullable=False, server_default="x"))
op.alter_column("fresh", "bd", server_default=None)]],
    },
    {
        "adding-field-with-default", class = "rewriting",
        bad = [[op.add_column("news", sa.Column("c", postgresql.UUID,
    server_default=sa.text("gen_random_uuid()")))]],
        good = [[op.add_column("news", sa.Column("d", sa.DateTime(timezone=True),
    server_default=sa.func.now()))]],
    },
    {
        "add-column-serial", class = "rewriting",
        bad = [[op.add_column("news", sa.Column("e", sa.BigInteger, sa.Identity()))]],
        good = [[op.add_column("news", sa.Column("f", sa.BigInteger))]],
    },
    {
        "add-column-generated-stored", class = "rewriting",
        bad = [[op.add_column("news", sa.Column("g", sa.Text, sa.Computed("lower(url)",
    persisted=True)))]],
        good = [[op.add_column("news", sa.Column("h", sa.Text))]],
    },
    {
        "changing-column-type", class = "rewriting",
        bad = [[op.alter_column("news", "title", type_=sa.Integer)]],
        good = [[
op.add_column("news", sa.Column("i", sa.String(20)))
op.alter_column("news", "i", type_=sa.String(40))
op.alter_column("news", "i", type_=sa.Text)]],
    },
    {
        "adding-not-nullable-field", class = "rewriting",
        bad = [[op.alter_column("news", "title", nullable=False)]],
        good = [[
op.create_check_constraint("ck_t", "stories", "title IS NOT NULL", postgresql_not_valid=True)
op.execute("COMMIT")
op.execute("BEGIN")
op.execute("ALTER TABLE stories VALIDATE CONSTRAINT ck_t")
op.alter_column("stories", "title", nullable=False)]],
    },
    {
        "add-not-null-constraint", class = "rewriting",
        bad = [[op.execute("ALTER TABLE news ADD CONSTRAINT nn NOT NULL title")]],
        good = [[op.execute("ALTER TABLE news ADD CONSTRAINT nn NOT NULL title NOT VALID")]],
    },
    {
        "adding-foreign-key-constraint", class = "rewriting",
        bad = [[op.create_foreign_key("fk_a", "news", "users", ["user_id"], ["id"])]],
        good = [[op.create_foreign_key("fk_b", "news", "users", ["user_id"], ["id"],
    postgresql_not_valid=True)]],
    },
    {
        "constraint-missing-not-valid", class = "rewriting",
        bad = [[op.create_check_constraint("ck_a", "news", "length(url) > 3")]],
        good = [[op.create_check_constraint("ck_b", "news", "length(url) > 3",
    postgresql_not_valid=True)]],
    },
    {
        "validate-in-same-transaction", class = "rewriting",
        bad = [[
op.execute("ALTER TABLE news ADD CONSTRAINT ck_c CHECK (id > 0) NOT VALID")
op.execute("ALTER TABLE news VALIDATE CONSTRAINT ck_c")]],
        good = [[
op.execute("ALTER TABLE news ADD CONSTRAINT ck_d CHECK (id > 0) NOT VALID")
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE news VALIDATE CONSTRAINT ck_d")]],
    },
    {
        "disallowed-unique-constraint", class = "rewriting",
        bad = [[op.create_unique_constraint("uq_a", "news", ["url"])]],
        good = [[op.execute("ALTER TABLE news ADD CONSTRAINT uq_b UNIQUE USING INDEX uq_b")]],
    },
    {
        "adding-serial-primary-key-field", class = "rewriting",
        bad = [[op.create_primary_key("pk_a", "news", ["id"])]],
        good = [[op.execute("ALTER TABLE news ADD CONSTRAINT pk_b PRIMARY KEY USING INDEX pk_b")]],
    },
    {
        "add-exclusion", class = "rewriting",
        bad = [[op.create_exclude_constraint("ex_a", "rooms", ("during", "&&"), using="gist")]],
        good = [[
op.create_table("halls", sa.Column("during", postgresql.TSRANGE))
op.create_exclude_constraint("ex_b", "halls", ("during", "&&"), using="gist")]],
    },
    {
        "ban-alter-domain-with-add-constraint", class = "rewriting",
        bad = [[op.execute("ALTER DOMAIN zip ADD CONSTRAINT z CHECK (VALUE > 0)")]],
        good = [[op.execute("ALTER DOMAIN zip ADD CONSTRAINT z CHECK (VALUE > 0) NOT VALID")]],
    },
    {
        "ban-drop-column", class = "destructive",
        bad = [[op.drop_column("news", "title")]],
        good = [[
op.add_column("news", sa.Column("j", sa.Text))
op.drop_column("news", "j")]],
    },
    {
        "ban-drop-table", class = "destructive",
        bad = [[op.drop_table("old_news")]],
        good = [[
op.create_table("passing", sa.Column("id", sa.Integer))
op.drop_table("passing")]],
    },
    {
        "drop-constraint", class = "destructive",
        bad = [[op.drop_constraint("ck_x", "news")]],
        good = [[
op.create_check_constraint("ck_e", "news", "id > 1", postgresql_not_valid=True)
op.drop_constraint("ck_e", "news")]],
    },
    {
        "drop-object", class = "destructive",
        bad = [[op.execute("DROP MATERIALIZED VIEW IF EXISTS old_v")]],
        good = [[
op.execute("CREATE MATERIALIZED VIEW new_v AS SELECT 1")
op.execute("DROP MATERIALIZED VIEW new_v")]],
    },
    {
        "drop-schema", class = "destructive",
        bad = [[op.execute("DROP SCHEMA app CASCADE")]],
        good = [[op.execute("CREATE SCHEMA app2")]],
    },
    {
        "ban-drop-database", class = "destructive",
        bad = [[op.execute("DROP DATABASE app")]],
        good = [[op.execute("CREATE DATABASE app2")]],
    },
    {
        "drop-type", class = "destructive",
        bad = [[postgresql.ENUM(name="mood").drop(op.get_bind(), checkfirst=False)]],
        good = [[
postgresql.ENUM("a", name="mood2").create(op.get_bind(), checkfirst=False)
postgresql.ENUM(name="mood2").drop(op.get_bind(), checkfirst=False)]],
    },
    {
        "enum-value-in-transaction", class = "additive",
        bad = [[op.execute("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'")]],
        good = auto .. [[op.execute("ALTER TYPE mood ADD VALUE 'glad'")]],
    },
    {
        "renaming-column", class = "destructive",
        bad = [[op.alter_column("news", "title", new_column_name="headline")]],
        good = [[op.add_column("news", sa.Column("headline", sa.Text))]],
    },
    {
        "renaming-table", class = "destructive",
        bad = [[op.rename_table("people", "persons")]],
        good = [[
op.create_table("cars_new", sa.Column("id", sa.Integer))
op.rename_table("cars_new", "cars")
op.drop_table("cars")]],
    },
    {
        "rename-object", class = "destructive",
        bad = [[op.execute("ALTER INDEX ix_news RENAME TO ix_other")]],
        good = [[op.execute("ALTER INDEX ix_news SET (fillfactor = 80)")]],
    },
    {
        "alter-table-set-schema", class = "destructive",
        bad = [[op.execute("ALTER TABLE news SET SCHEMA archive")]],
        good = [[op.execute("ALTER TABLE news SET (fillfactor = 80)")]],
    },
    {
        "ban-drop-not-null", class = "additive",
        bad = [[op.alter_column("news", "title", nullable=True)]],
        good = [[
op.add_column("news", sa.Column("k", sa.Text, nullable=False, server_default=""))
op.alter_column("news", "k", nullable=True)]],
    },
    {
        "drop-default", class = "additive",
        bad = [[op.alter_column("news", "title", server_default=None)]],
        good = [[op.alter_column("news", "title", server_default="none")]],
    },
    {
        "truncate", class = "destructive",
        bad = [[op.execute("TRUNCATE TABLE ONLY news, users CASCADE")]],
        good = [[
op.create_table("scratch", sa.Column("id", sa.Integer))
op.execute("TRUNCATE scratch")]],
    },
    {
        "update-without-where", class = "rewriting",
        bad = [[
news = sa.table("news", sa.column("title", sa.Text))
op.execute(news.update().values(title="x"))]],
        good = [[
news = sa.table("news", sa.column("title", sa.Text), sa.column("id", sa.Integer))
op.execute(news.update().where(news.c.id < 1000).values(title="x"))]],
    },
    {
        "update-rows", class = "rewriting",
        bad = [[op.execute("UPDATE news SET title = 'x, y', url = lower(url) WHERE id < 1000")]],
        good = [[
op.add_column("news", sa.Column("ca", sa.Text))
op.add_column("news", sa.Column("cb", sa.Text))
op.execute("UPDATE news SET ca = coalesce(title, 'x'), cb = 'y' WHERE id < 1000")]],
    },
    {
        "delete-without-where", class = "destructive",
        bad = [[op.execute(sa.table("news").delete())]],
        good = [[op.execute("DELETE FROM news WHERE id = 5")]],
    },
    {
        "delete-rows", class = "destructive",
        bad = [[op.execute("WITH d AS (DELETE FROM news WHERE id = 5 RETURNING *) SELECT 1")]],
        good = [[op.bulk_insert(sa.table("news", sa.column("id", sa.Integer)), [{"id": 1}])]],
    },
    {
        "vacuum-full", class = "rewriting",
        bad = auto .. [[op.execute("VACUUM (FULL, ANALYZE) news")]],
        good = auto .. [[op.execute("VACUUM (FULL off, ANALYZE) news")]],
    },
    {
        "refresh-not-concurrent", class = "rewriting",
        bad = [[op.execute("REFRESH MATERIALIZED VIEW top_news")]],
        good = [[op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY top_news")]],
    },
    {
        "set-logged", class = "rewriting",
        bad = [[op.execute("ALTER TABLE news SET UNLOGGED")]],
        good = [[op.execute("CREATE UNLOGGED TABLE hot (id int)")]],
    },
    {
        "move-table", class = "rewriting",
        bad = [[op.execute("ALTER TABLE news SET TABLESPACE fast")]],
        good = [[op.execute("ALTER TABLE news OWNER TO somebody")]],
    },
    {
        "lock-table", class = "additive",
        bad = [[op.execute("LOCK TABLE news IN SHARE ROW EXCLUSIVE MODE")]],
        good = [[op.execute("LOCK TABLE news IN ACCESS SHARE MODE")]],
    },
    {
        "create-trigger", class = "additive",
        bad = [[op.execute("CREATE TRIGGER t AFTER UPDATE OF title ON news EXECUTE FUNCTION f()")]],
        good = [[
op.create_table("watched", sa.Column("id", sa.Integer))
op.execute("CREATE TRIGGER t AFTER UPDATE ON watched EXECUTE FUNCTION f()")]],
    },
    {
        "require-concurrent-partition-detach", class = "destructive",
        bad = [[op.execute("ALTER TABLE events DETACH PARTITION events_2020")]],
        good = auto .. [[op.execute("ALTER TABLE events DETACH PARTITION e_2020 CONCURRENTLY")]],
    },
    {
        "ban-char-field", class = "additive",
        bad = [[op.add_column("news", sa.Column("l", sa.CHAR(2)))]],
        good = [[op.add_column("news", sa.Column("m", sa.String(2)))]],
    },
    {
        "many-alterations-in-one-transaction", class = "additive",
        bad = [[
for name in "news", "users", "rooms":
    op.add_column(name, sa.Column("n", sa.Text))]],
        good = [[
for name in "news", "users", "rooms":
    with op.get_context().autocommit_block():
        op.add_column(name, sa.Column("o", sa.Text))]],
    },
    {
        "update-under-exclusive-lock", class = "rewriting",
        bad = [[
op.add_column("news", sa.Column("p", sa.Text))
op.execute("UPDATE news SET p = title WHERE id > 5")]],
        good = [[
with op.get_context().autocommit_block():
    op.add_column("news", sa.Column("q", sa.Text))
    op.execute("UPDATE news SET q = title WHERE id > 5")
op.add_column("users", sa.Column("q", sa.Text))
op.execute("UPDATE news SET q = title WHERE id > 5")]],
    },
    {
        "create-table-locks-referenced", class = "additive",
        bad = [[op.create_table("likes",
    sa.Column("news_id", sa.Integer, sa.ForeignKey("news.id")))]],
        good = [[
op.create_table("tags", sa.Column("id", sa.Integer, primary_key=True))
op.create_table("taggings", sa.Column("tag_id", sa.Integer, sa.ForeignKey("tags.id")))]],
    },
    {
        "not-understood", class = "rewriting",
        bad = [[op.execute("ALTER TABLE news ADD COLUMNS a int, b int")]],
        good = [[op.execute("ALTER TABLE news ADD COLUMN r int, ADD COLUMN s int")]],
    },
    {
        "not-understood-that-drops", class = "destructive",
        bad = [[op.execute("ALTER TABLE news DROP COLUMNS a, b")]],
        good = [[op.execute("CREATE TABLES a (id int)")]],
    },
    {
        "opaque-code", class = "rewriting",
        bad = [[op.execute("DO $body$ BEGIN EXECUTE format('ANALYZE %I', name); END $body$")]],
        good = [[
op.execute("CREATE FUNCTION f() RETURNS int AS $$ SELECT 1; $$ LANGUAGE sql")
op.execute("DO $body$ BEGIN PERFORM 1; EXECUTE 'ANALYZE news'; END $body$")]],
    },
    {
        "opaque-code-that-drops", class = "destructive",
        bad = [[op.execute("DO $body$ BEGIN EXECUTE 'DROP TABLE ' || name; END $body$")]],
        good = [[op.execute("DO $body$ BEGIN PERFORM backdrop(); END $body$")]],
    },
}

---The rules that were found, by revision.
local function by_revision(found)
    local rules, findings = {}, {}
    for _, finding in ipairs(found) do
        local id = finding.revision
        rules[id], findings[id] = rules[id] or {}, findings[id] or {}
        rules[id][finding.rule] = finding
        table.insert(findings[id], finding)
    end
    return rules, findings
end

local function class_of(findings)
    local class = "additive"
    for _, finding in ipairs(findings) do
        class = class == "destructive" and class or finding.effect or class
    end
    return class
end

---What is found, without the statement, which need not be spelled alike.
local function facts_of(list)
    local facts = {}
    for i, finding in ipairs(list or {}) do
        facts[i] = { finding.rule, finding.object, finding.lock, finding.locked }
    end
    return facts
end

describe("the rules, with SQL from Alembic", function()
    local bodies, rules, findings = {}, nil, nil
    for _, case in ipairs(cases) do
        table.insert(bodies, case.bad)
        table.insert(bodies, case.good)
    end

    local function judge()
        if not rules then
            local sql = offline.sql("postgresql://u:p@h/d", bodies)
            rules, findings = by_revision(hazards.judge {
                sql = sql, dialect = "postgresql", lock_timeout = true }.findings)
        end
    end

    for i, case in ipairs(cases) do
        it("know " .. case[1], function()
            judge()
            local bad, good = ("r%03d"):format(2 * i - 1), ("r%03d"):format(2 * i)
            local finding = (rules[bad] or {})[case[1]]
            assert.is_table(finding, "not found")
            assert.is_true(#finding.why > 0 and #finding.instead > 0 and finding.line > 0)
            assert.equal(case.class, class_of(findings[bad]))
            assert.is_nil((rules[good] or {})[case[1]])
        end)
    end

    it("find the same by the source of the revisions", function()
        judge()
        local dir = offline.application("postgresql://u:p@h/d", bodies)
        local graph, parts, list = revisions.read(dir), {}, {}
        for i, id in ipairs(graph.order) do
            list[i] = graph.by_id[id]
        end
        local sources = source.read({ dir = dir, dialect = "postgresql" }, list)
        for _, id in ipairs(graph.order) do
            assert.is_true(sources[id].is_complete, id)
            for _, part in ipairs(sources[id].parts) do
                parts[#parts + 1] = part
            end
        end
        local _, found = by_revision(hazards.judge {
            parts = parts, dialect = "postgresql", lock_timeout = true }.findings)
        for i, body in ipairs(bodies) do
            local id = ("r%03d"):format(i)
            assert.same(facts_of(findings[id]), facts_of(found[id]), body)
        end
        fs.remove(dir, { recursive = true })
    end)

    it("are all tried here, or below", function()
        local tried = { ["require-timeout-settings"] = true, ["batch-copy"] = true,
            unread = true, ["unread-that-drops"] = true }
        for _, case in ipairs(cases) do
            tried[case[1]] = true
        end
        for _, rule in ipairs(hazards.rules) do
            assert.is_true(tried[rule.id], rule.id)
        end
    end)
end)
