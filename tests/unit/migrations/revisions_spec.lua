local fs = require "host.fs"
local proc = require "host.proc"
local revisions = require "dgrun.migrations.revisions"

---A graph of {id = down} or {id = whole text of the file}.
local function graph_of(files)
    local dir = assert(fs.temp_dir("alembic"))
    assert(fs.mkdir(dir / "migrations/versions", { parents = true }))
    assert(fs.write(dir / "alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n"))
    for id, down in pairs(files) do
        local text = down:find("\n") and down
            or ("revision = %q\ndown_revision = %s\n"):format(id, down)
        assert(fs.write(dir / "migrations/versions" / id .. ".py", text))
    end
    local ok, graph = pcall(revisions.read, dir)
    fs.remove(dir, { recursive = true })
    if not ok then
        error(graph, 0)
    end
    return graph
end

local function code_of(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e.code, e
end

local function ids(list)
    local found = {}
    for i, revision in ipairs(list) do
        found[i] = revision.revision
    end
    return found
end

local diamond = { a1 = "None", b1 = "'a1'", b2 = "'a1'", c1 = "('b1', 'b2')" }

describe("revision graphs", function()
    it("are gone through in order, past branches and merges", function()
        local graph = graph_of(diamond)
        assert.same({ "c1" }, revisions.heads(graph))
        -- The order of Alembic: `alembic upgrade head --sql` has b2 before b1.
        assert.same({ "a1", "b2", "b1", "c1" }, ids(revisions.pending(graph, {}, "head")))
        assert.same({ "b2", "c1" }, ids(revisions.pending(graph, { "b1" }, "head")))
        assert.same({ "a1", "b2" }, ids(revisions.pending(graph, {}, "b2")))
        assert.same({}, revisions.pending(graph, { "c1" }, "head"))
    end)

    it("know heads, labels, beginnings of ids and depends_on", function()
        local graph = graph_of {
            aaaa1111 = "None", bbbb1111 = "'aaaa1111'",
            cccc1111 = "revision = 'cccc1111'\ndown_revision = 'aaaa1111'\n"
                .. "branch_labels = ('side',)\ndepends_on = 'bbbb1111'\n",
        }
        local code, e = code_of(revisions.targets, graph, "head")
        assert.equal("migrations.multiple_heads", code)
        assert.same({ "bbbb1111", "cccc1111" }, e.heads)
        -- What another depends on is no target of its own: Alembic's table has one row for both.
        assert.same({ "cccc1111" }, revisions.targets(graph, "heads"))
        assert.same({ "cccc1111" }, revisions.targets(graph, "side@head"))
        assert.equal("bbbb1111", revisions.find(graph, "bbbb"))
        assert.same({ "aaaa1111", "bbbb1111", "cccc1111" },
            ids(revisions.pending(graph, {}, "cccc1111")))
    end)

    it("refuse what is no graph", function()
        assert.equal("migrations.cycle", code_of(graph_of, { a1 = "'b1'", b1 = "'a1'" }))
        assert.equal("migrations.missing_down_revision", code_of(graph_of, { a1 = "'gone'" }))
        assert.equal("migrations.duplicate_revision", code_of(graph_of,
            { a1 = "None", b1 = "revision = 'a1'\ndown_revision = None\n" }))
        assert.equal("migrations.unreadable",
            code_of(graph_of, { a1 = "revision = make()\nx = 1\n" }))
        local graph = graph_of(diamond)
        assert.equal("migrations.unknown_revision",
            code_of(revisions.pending, graph, { "other" }, "head"))
    end)

    it("read Python as Python does", function()
        local graph = graph_of { x = [=[
"""A message

Revision ID: not this
"""
# revision = "comment"
text = "revision = 'in a string'"
revision: str = 'ab' "cd" \
    r"ef"
down_revision: Union[str, Tuple[str, ...]] = (
    # nothing
)
if True:
    revision = "indented"
def f(): revision = "inside"
branch_labels = {"one", 'two'}
]=] }
        local found = graph.by_id.abcdef
        assert.equal("A message", found.message)
        assert.same({ "one", "two" }, found.labels)
        assert.same({}, found.down)
        assert.equal(7, found.line)
    end)

    it("end no string at a quote behind a backslash, in a raw one neither", function()
        local graph = graph_of { x = [=[
pattern = r"\"" r'\\'
def f(): return r"(\"[^\"]*\")", '\'', """\""""
revision = "abc"
down_revision = None
]=], y = "pattern = 'a\\\r\nb'\r\nrevision = 'def'\r\ndown_revision = 'abc'\r\n" }
        assert.same({ "def" }, revisions.heads(graph))
        assert.equal(3, graph.by_id.abc.line)
        assert.equal(3, graph.by_id.def.line)
    end)

    it("name the file that cannot be read, and what is no revision", function()
        local code, e = code_of(graph_of, { a1 = "None", b1 = "x = 1\n" })
        assert.equal("migrations.no_revision", code)
        assert.matches("b1.py declares no revision", e.msg, 1, true)
        code, e = code_of(graph_of, { a1 = "None", b1 = ("#"):rep(1024 * 1024) .. "\n" })
        assert.equal("fs.too_large", code)
        assert.matches("b1.py", e.msg, 1, true)
    end)

    it("name the setting when their folder does not exist", function()
        local dir = assert(fs.temp_dir("alembic"))
        assert(fs.write(dir / "alembic.ini", "[alembic]\nscript_location = nope\n"))
        local code, e = code_of(revisions.read, dir)
        fs.remove(dir, { recursive = true })
        assert.equal("migrations.no_versions", code)
        assert.matches("alembic.ini: script_location is nope", e.msg, 1, true)
    end)

    it("agree with Alembic on the sample", function()
        local dir = fs.cwd() / "tests/fixtures/draftguru"
        local graph = revisions.read(dir)
        local result = assert(proc.run { argv = { "alembic", "history" }, cwd = dir,
            env = { DATABASE_URL = "sqlite+aiosqlite://", PYTHONDONTWRITEBYTECODE = "1" } })
        assert.equal(0, result.status, result.stderr)
        local count = 0
        for line in result.stdout:gmatch("[^\n]+") do
            local down, id = line:match("^(.-) %-> (%w+)")
            count = count + 1
            local revision = assert(graph.by_id[id], id)
            for _, parent in ipairs(revision.down) do
                assert.matches(parent, down, 1, true)
            end
        end
        assert.equal(count, #graph.order)
        assert.same({ "9caf00c0de09" }, revisions.heads(graph))
    end)
end)
