-- What revision files do, read from their Python source.
local fs = require "host.fs"
local hazards = require "dgrun.migrations.hazards"
local source = require "dgrun.migrations.source"

local dir

before_each(function() dir = assert(fs.temp_dir("source")) end)
after_each(function() fs.remove(dir, { recursive = true }) end)

---All files are read by one process.
---@return dgrun.migrations.source[]
local function read_all(texts, dialect)
    local list, found = {}, {}
    for i, text in ipairs(texts) do
        local file = dir / ("r%d.py"):format(i)
        assert(fs.write(file, text))
        list[i] = { revision = tostring(i), file = file }
    end
    local sources = source.read({ dir = dir, dialect = dialect or "postgresql" }, list)
    for i, revision in ipairs(list) do
        found[i] = sources[revision.revision]
    end
    return found
end

local HEAD = [[
import logging
import sqlalchemy as sa
from alembic import op
from app.migrations import utils
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

logger = logging.getLogger(__name__)

]]

---A file whose upgrade() has this body.
local function upgrade(body, head)
    return HEAD .. (head or "") .. "\ndef upgrade():\n    " .. body:gsub("\n(.)", "\n    %1")
end

---What it does, without the transaction around it.
local function statements_of(found)
    assert.is_nil(found.error)
    local list = {}
    for i = 2, #found.parts do
        local part = found.parts[i]
        list[#list + 1] = part.sql or "? " .. part.unread .. ": " .. part.reason
    end
    return list
end

local function statements(body, head)
    return statements_of(read_all { upgrade(body, head) }[1])
end

local function rules_of(found, dialect)
    local rules = {}
    for i, finding in ipairs(hazards.judge { parts = found.parts,
        dialect = dialect or "postgresql", lock_timeout = true }.findings) do
        rules[i] = finding.rule
    end
    return table.concat(rules, " ")
end

---Calls f with each key of a table, what is read of it as a body, and the value.
local function each_body(bodies, head, f)
    local keys, texts = {}, {}
    for body in pairs(bodies) do
        keys[#keys + 1], texts[#texts + 1] = body, upgrade(body, head)
    end
    for i, found in ipairs(read_all(texts)) do
        f(keys[i], found, bodies[keys[i]])
    end
end

describe("the source of a revision", function()
    it("has calls of op, as Alembic prints them", function()
        each_body({
            ['op.add_column("user", sa.Column("Age", sa.Integer(), server_default="0"), "app")'] =
                'ALTER TABLE app."user" ADD COLUMN "Age" INTEGER DEFAULT \'0\'',
            ['op.alter_column("a", "b", nullable=False)'] =
                "ALTER TABLE a ALTER COLUMN b SET NOT NULL",
            ['op.alter_column("a", "b", type_=sa.String(length=9), postgresql_using="b::text")'] =
                "ALTER TABLE a ALTER COLUMN b TYPE VARCHAR(9) USING b::text",
            ['op.alter_column("a", "b", new_column_name="c")'] = "ALTER TABLE a RENAME b TO c",
            ['op.alter_column("a", "b", server_default=sa.func.now())'] =
                "ALTER TABLE a ALTER COLUMN b SET DEFAULT now()",
            ['op.create_check_constraint(op.f("ck"), "a", sa.column("b") > 5)'] =
                [[ALTER TABLE a ADD CONSTRAINT ck CHECK ("sa.column('b') > 5")]],
            ['op.drop_constraint("fk", "a", type_="foreignkey", schema="s")'] =
                "ALTER TABLE s.a DROP CONSTRAINT fk",
            ['op.rename_table(old_table_name="a", new_table_name="b")'] =
                "ALTER TABLE a RENAME TO b",
            ['op.drop_index("ix", table_name="a", postgresql_concurrently=True, if_exists=True)'] =
                "DROP INDEX CONCURRENTLY IF EXISTS ix",
            ['op.create_index("ix", "a", [sa.text("lower(b) DESC")], unique=True)'] =
                "CREATE UNIQUE INDEX ix ON a (lower(b) DESC)",
            ['op.create_foreign_key(None, "a", "b", ["c"], ["d"], referent_schema="s")'] =
                "ALTER TABLE a ADD FOREIGN KEY(c) REFERENCES s.b (d)",
            ['op.create_table("a", sa.Column("b", postgresql.ARRAY(sa.Text), nullable=False))'] =
                "CREATE TABLE a (b TEXT[] NOT NULL)",
            ['op.bulk_insert(sa.table("a", sa.column("b")), [{"b": 1}])'] =
                "INSERT INTO a DEFAULT VALUES",
            ['postgresql.ENUM("x", "y", name="e", create_type=False).create(op.get_bind())'] =
                "CREATE TYPE e AS ENUM ('x', 'y')",
            ['sa.Enum(name="e").drop(op.get_bind(), checkfirst=True)'] = "DROP TYPE e",
            ['op.execute(sa.schema.CreateSequence(sa.Sequence("s")))'] = "CREATE SEQUENCE s",
            ['op.create_view("v", "SELECT 1")'] = '? op.create_view("v", "SELECT 1"): create_view '
                .. "is not an operation of Alembic",
            ['op.alter_column("a", "b", nullable=utils.yes)'] =
                '? op.alter_column("a", "b", nullable=utils.yes): nullable is not a literal',
        }, nil, function(body, found, sql)
            assert.same({ sql }, statements_of(found), body)
        end)
    end)

    it("has literal SQL, whatever sends it", function()
        each_body({
            ['op.execute("DROP VIEW " + "v")'] = "DROP VIEW v",
            ['op.get_bind().execute(sa.text("SELECT :a::int"), {"a": 1})'] = "SELECT ':a'::int",
            ['op.get_bind().exec_driver_sql("SELECT %s, \'%s\', 5 %% 3", (1,))'] =
                "SELECT '?', '%s', 5 % 3",
            ['Session(bind=op.get_bind()).execute("DELETE FROM a WHERE b IN :ids")'] =
                "DELETE FROM a WHERE b IN (':ids')",
            ['for t in ["a"]: op.execute(f"DROP TABLE {t}")'] = "DROP TABLE a",
            ['op.execute("DROP TABLE {}".format(NAME))'] = "DROP TABLE n",
            ['op.execute(sa.text("UPDATE a SET b = \'%s\'" % 5))'] = "UPDATE a SET b = '5'",
            ['op.execute(sa.update(T).where(T.c.b == 5).values(c=1))'] =
                [[UPDATE t SET c = '?' WHERE "T.c.b == 5"]],
            ['op.execute(T.delete())'] = "DELETE FROM t",
            ['Session(bind=op.get_bind()).query(M).filter(M.id > 1).update({"c": 1})'] =
                [[UPDATE m SET c = '?' WHERE "filter"]],
            ['op.execute(f"DROP {utils.name}")'] = '? op.execute(f"DROP {utils.name}"): '
                .. "only pieces of the SQL are literals",
            ['with utils.session() as s: s.execute(sa.text("DELETE FROM a"))'] = "DELETE FROM a",
            ['op.execute(utils.sql())'] = "? op.execute(utils.sql()): the SQL is not a literal",
        }, [[
NAME = "n"
T = sa.table("t", sa.column("b"))
class M(object):
    __tablename__ = "m"
    id = sa.Column(sa.Integer)
]], function(body, found, sql)
            assert.same({ sql }, statements_of(found), body)
        end)
    end)

    it("goes all ways that only a run could choose between", function()
        assert.same({ "DROP TABLE a", "DROP TABLE b", "DROP TABLE c" }, statements [[
names = sa.inspect(op.get_bind()).get_table_names()
if "a" in names:
    op.drop_table("a")
else:
    op.drop_table("b")
if not names:
    return
try:
    op.drop_table("c")
except Exception:
    logger.warning("no c")]])
        assert.same({ "DROP TABLE a" }, statements [[
if op.get_bind().dialect.name == "postgresql":
    op.drop_table("a")
else:
    op.drop_table("b")]])
        assert.same({ 'DROP TABLE "? (line 13)"' }, statements [[
name = "a" if utils.ok() else "b"
op.drop_table(name)]])
        assert.same({ "DELETE FROM x RETURNING id", "DROP TABLE a", "DROP TABLE b", "DROP VIEW v" },
            statements [[
found, views = [], {}
for row in op.get_bind().execute(sa.text("DELETE FROM x RETURNING id")):
    found.append(1)
    views[row.id] = "v"
if found:
    op.drop_table("a")
found or op.drop_table("b")
for name in views.values():
    op.execute("DROP VIEW " + name)]])
        assert.same({ 'DROP TABLE "? (line 15)"' }, statements [[
names = []
for i in range(150): names.extend(["a", "b"])
for name in names:
    op.drop_table(name)]])
        assert.same({ "? raise ValueError(\"no\"): upgrade raises an exception" },
            statements 'raise ValueError("no")')
    end)

    it("has names that only a run could tell, each another one", function()
        each_body({
            ['op.drop_constraint(utils.name, "a")\nop.drop_column("a", utils.name)'] =
                "drop-constraint ban-drop-column",
            ['op.create_table(utils.name)\nop.drop_table(utils.name)'] = "ban-drop-table",
            ['for ix in sa.inspect(op.get_bind()).get_indexes("a"): op.drop_index(ix["name"])'] =
                "require-concurrent-index-deletion drop-index",
        }, nil, function(body, found, rules)
            assert.equal(rules, rules_of(found), body)
        end)
    end)

    it("has functions of the file, with their arguments", function()
        assert.same({ "DROP TABLE a", "DROP TABLE b", "ALTER TABLE c DROP COLUMN d" }, statements([[
drop("a", "b")
with op.batch_alter_table("c") as batch:
    drop_in(batch)]], [[
def drop(*names):
    for name in names:
        op.drop_table(name)

def drop_in(batch, name="d"):
    batch.drop_column(name)
]]))
        assert.same({ "DROP TABLE a", "DROP TABLE b" }, statements([[
Moves(op.get_bind()).run()]], [[
class Base:
    def drop(self, name):
        self.connection.execute(sa.text(f"DROP TABLE {name}"))

class Moves(Base):
    NAMES = ["a"]
    def __init__(self, connection):
        self.connection = connection
    @classmethod
    def names(cls): return cls.NAMES
    @staticmethod
    def last(name): op.drop_table(name)
    def run(self):
        for name in self.names():
            self.drop(name)
        Moves.last("b")
]]))
        assert.matches("too deeply", statements("f()", "def f():\n    f()\n")[1])
    end)

    it("has lines, also those of the statements of one text", function()
        local found = read_all { upgrade('op.drop_table("a")\n'
            .. 'op.execute("""\n  DROP TABLE b;\n\n  DROP TABLE c\n""")') }[1]
        local findings = hazards.judge { parts = found.parts, dialect = "postgresql",
            lock_timeout = true }.findings
        local first = findings[1].line
        assert.same({ first + 2, first + 4 }, { findings[2].line, findings[3].line })
        assert.equal(dir / "r1.py", findings[3].file)
    end)

    it("has the types that columns had", function()
        each_body({
            ['op.alter_column("a", "b", existing_type=sa.String(5), type_=sa.Text())'] = "",
            ['op.alter_column("a", "b", existing_type=sa.Text(), type_=sa.String(5))'] =
                "changing-column-type",
            ['op.alter_column("a", "b", type_=sa.Text())'] = "changing-column-type",
        }, nil, function(body, found, rules)
            assert.equal(rules, rules_of(found), body)
        end)
    end)

    it("has transactions and what runs outside of them", function()
        each_body({ [ [[
with op.get_context().autocommit_block():
    op.create_index("ix", "a", ["b"], postgresql_concurrently=True)]] ] = "", [ [[
op.add_column("a", sa.Column("b", sa.Integer))
op.execute("UPDATE a SET c = 1")]] ] = "update-without-where update-under-exclusive-lock",
        }, nil, function(body, found, rules)
            assert.equal(rules, rules_of(found), body)
        end)
    end)
end)

describe("what cannot be read in a source", function()
    it("is said, once a place", function()
        each_body({
            ['utils.backfill(op)'] = "unread", ['utils.drop_things()'] = "unread-that-drops",
            ['x = utils.backfill(op.get_bind())'] = "unread",
            ['sa.MetaData().create_all(bind=op.get_bind())'] = "unread",
            ['exec("op.drop_table(1)")'] = "unread",
            ['utils.table.rename(op)'] = "unread-that-drops",
            ['for row in Session(op.get_bind()).query(utils.M):\n    row.a = 1\n    row.b = 2'] =
                "unread",
            ['op.execute("SELECT \'a")'] = "unread",
            ['op.execute("DROP \'")'] = "unread-that-drops",
            ['for i in range(3):\n    op.execute(utils.sql)'] = "unread",
            ['op.run_async(utils.go)'] = "unread",
            ['import os\nos.system("psql")'] = "unread",
            ['with utils.session() as s: s.run("a")'] = "unread",
            ['for i, row in enumerate(Session(op.get_bind()).query(utils.M).all()): row.a = 1'] =
                "unread",
            ['rows = [row for row in Session(op.get_bind()).query(utils.M)]\nrows[0].a = 1'] =
                "unread",
            ['x = "a"\nfor i in range(150): x = x + x'] = "unread",
            ['getattr(op, utils.name)("a")'] = "unread",
        }, nil, function(body, found, rule)
            assert.equal(rule, rules_of(found), body)
        end)
    end)

    it("is nothing that only reads", function()
        local bodies = {}
        for _, body in ipairs {
            'logger.info("begin")', 'print(op.get_bind())',
            'sa.inspect(op.get_bind()).get_columns("a")',
            'rows = op.get_bind().execute(sa.select(sa.column("a"))).fetchall()',
            'if utils.has_table("a"): pass',
            'names = [row[0] for row in op.get_bind().execute("SELECT 1")]',
            'sa.Table("a", sa.MetaData(), autoload_with=op.get_bind())', 'pass',
            'x = utils.make()\nx.y.z = 1', 'session = Session(op.get_bind())\nsession.commit()',
        } do
            bodies[body] = ""
        end
        each_body(bodies, nil, function(body, found)
            assert.equal("", rules_of(found), body)
            assert.is_true(found.is_complete, body)
        end)
    end)

    it("is a file that is not Python, with the line, or has no upgrade()", function()
        local syntax, null, bytes, other, empty = unpack(read_all {
            "x = 1\ndef upgrade(:\n", "x = '\0'\n", "\xff\xfe", "x = 1\n", "" })
        assert.same({ "invalid syntax", 2, false },
            { syntax.error, syntax.line, syntax.is_complete })
        assert.matches("null bytes", null.error)
        assert.is_truthy(bytes.error)
        assert.matches("defines no function 'upgrade'", other.parts[2].reason)
        assert.matches("defines no function 'upgrade'", empty.parts[2].reason)
    end)

    it("is what takes too long, and nothing of the file is run", function()
        local found = read_all({ ("import os\nos.system('touch %s')\n"):format(dir / "ran")
            .. "def upgrade():\n    while True:\n        for i in range(10 ** 9): f()\n"
            .. "def f():\n    x = [" .. ("1,"):rep(9999) .. "]\n"
            .. "    for a in x:\n        for b in x: open(a)\n" })[1]
        assert.is_nil(found.error)
        assert.is_false(fs.exists(dir / "ran"))
    end)
end)

it("the source shows what a batch does to a table of SQLite", function()
    local cases = {
        { "ban-drop-column batch-copy", [[
with op.batch_alter_table("a") as batch:
    batch.drop_column("b")]] },
        { "batch-copy", [[
with op.batch_alter_table("a") as batch:
    batch.alter_column("b", nullable=False)]] },
        { "", [[
op.create_table("a", sa.Column("b", sa.Text))
with op.batch_alter_table("a") as batch:
    batch.drop_column("b")
with op.batch_alter_table("c") as batch:
    batch.add_column(sa.Column("d", sa.Text))
    batch.create_index("ix", ["d"])]] },
        { "renaming-table ban-drop-table delete-rows", [[
op.rename_table("a", "b")
op.execute("DROP TABLE [c d]")
op.get_bind().exec_driver_sql("DELETE FROM a WHERE id = ?", (1,))]] },
    }
    local texts = {}
    for i, case in ipairs(cases) do
        texts[i] = upgrade(case[2])
    end
    for i, found in ipairs(read_all(texts, "sqlite")) do
        assert.equal(cases[i][1], rules_of(found, "sqlite"), cases[i][2])
    end
end)

it("the samples are read without a rest", function()
    for _, sample in ipairs { "draftguru", "league" } do
        local folder = "tests/fixtures/" .. sample .. "/alembic/versions"
        local list = {}
        for _, name in ipairs(assert(fs.list(folder))) do
            if name:find "%.py$" and not name:find "^__" then
                list[#list + 1] = { revision = name, file = folder / name }
            end
        end
        assert.is_true(#list > 5)
        for name, found in pairs(source.read({ dir = ".", dialect = "postgresql" }, list)) do
            assert.is_true(found.is_complete, name)
        end
    end
end)
