-- `dgrun migrations lint` in real repositories, without a database.
local app = require "support.alembic_app"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local league = require "support.league"
local proc = require "host.proc"
local repository = require "support.repository"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local VERSIONS = "migrations/versions/"

local function lint(dir, ...)
    local result = assert(proc.run { argv = { binary, "migrations", "lint", ... }, cwd = dir,
        clean_env = true, timeout = 60,
        env = { PATH = "/usr/bin:/bin", HOME = "/nonexistent", LANG = "C.UTF-8",
            DGRUN_STDLIB = os.getenv "DGRUN_STDLIB", ASAN_OPTIONS = os.getenv "ASAN_OPTIONS",
            LSAN_OPTIONS = os.getenv "LSAN_OPTIONS" } })
    result.all = result.stdout .. result.stderr
    return result
end

local function path(id) return VERSIONS .. id .. ".py" end

---The main branch has a table; a pull request is made on a branch of its own.
---@param files table<string, string> of the pull request
local function pull_request(files)
    local dir = repository.folder()
    repository.git(dir, { "init", "-q", "-b", "main" })
    repository.commit(dir, app.files { ["a.py"] = app.revision("aaaa", nil,
        'op.create_table("site", sa.Column("id", sa.Integer), sa.Column("name", sa.Text))\n'
            .. 'op.drop_table("older")') })
    repository.git(dir, { "checkout", "-q", "-b", "feature" })
    repository.commit(dir, files)
    return dir
end

local function counts(result)
    return result.stdout:match("([^\n]*)\n$")
end

describe("dgrun migrations lint", function()
    it("names the place of what is not accepted, and ends with 3", function()
        local dir = pull_request { [path "b"] = app.revision("bbbb", "aaaa",
            'op.drop_column("site", "name")\nop.execute("""\n  UPDATE site\n  SET id = 1\n""")') }
        local result = lint(dir)
        assert.equal(3, result.status, result.all)
        assert.equal("", result.stderr)
        assert.matches("migrations/versions/b.py:11: ban%-drop%-column: its data is lost[^\n]*\n"
            .. "    ALTER TABLE site DROP COLUMN name\n    instead: first deploy code",
            result.stdout)
        assert.matches("b.py:13: update%-without%-where: ", result.stdout)
        assert.matches("# dgrun: accept RULE: reason", result.stdout, 1, true)
        assert.equal("1 revision since main: 3 unaccepted findings, 1 note", counts(result))
        -- Those of the main branch are none of its business.
        assert.not_matches("older", result.stdout)
        local report = json.decode(lint(dir, "--json").stdout)
        assert.same({ 3, "b.py", 11, "destructive" }, { report.blocking,
            report.revisions[1].findings[1].file:match "[^/]*$",
            report.revisions[1].findings[1].line, report.revisions[1].class })
        -- Below the top of the repository, it is the same.
        assert.same(result.stdout, lint(dir / "migrations").stdout)
    end)

    it("ends with 0 when all of it is accepted or additive", function()
        local text = app.revision("bbbb", "aaaa", 'op.drop_column("site", "name")')
        local dir = pull_request {
            [path "b"] = "# dgrun: accept drop-column: unused since v3\n" .. text,
            [path "c"] = app.revision("cccc", "bbbb", 'op.create_table("more")') }
        local result = lint(dir)
        assert.equal(0, result.status, result.all)
        assert.matches("accepted: unused since v3\n", result.stdout)
        assert.equal("2 revisions since main: 1 accepted, 1 note", counts(result))
        repository.commit(dir, { [path "b"] = "# dgrun: accept drop-it: unused\n" .. text })
        result = lint(dir)
        assert.equal(1, result.status, result.all)
        assert.matches("b.py: line 1: unknown rule 'drop%-it'", result.stderr)
    end)

    it("looks at merges, at what inspects the database, and says what it cannot read", function()
        local dir = pull_request {
            [path "b"] = app.revision("bbbb", "aaaa", 'names = sa.inspect(op.get_bind())'
                .. '.get_table_names()\nif "old" in names:\n    op.drop_table("old")'),
            [path "c"] = app.revision("cccc", "aaaa",
                'from app import data\ndata.backfill(op.get_bind())'),
            [path "m"] = app.revision("mmmm", nil, "pass"):gsub("down_revision = None",
                'down_revision = ("bbbb", "cccc")'),
        }
        local result = lint(dir)
        assert.equal(3, result.status, result.all)
        assert.matches("b.py:13: ban%-drop%-table: .*DROP TABLE old\n", result.stdout)
        assert.matches("c.py:12: unread: [^\n]*\n    data.backfill%(op.get_bind%(%)%)\n"
            .. "    backfill is a function of another module\n", result.stdout)
        assert.equal("3 revisions since main: 2 unaccepted findings, 1 note", counts(result))
    end)

    it("says where a file is not Python", function()
        local dir = pull_request { [path "b"] = 'revision = "bbbb"\ndown_revision = "aaaa"\n'
            .. "def upgrade():\n    op.drop_table(\n" }
        local result = lint(dir)
        assert.equal(1, result.status)
        assert.matches("1 revision file is not valid Python: migrations/versions/b.py:4: '%(' was",
            result.stderr)
        assert.not_matches("Traceback", result.all)
        repository.commit(dir, { [path "b"] = "\1\2 neither this" })
        result = lint(dir)
        assert.equal(1, result.status)
        assert.matches("migrations/versions/b.py", result.stderr, 1, true)
        assert.not_matches("Traceback", result.all)
    end)

    it("knows what is new by the merge base, committed or not", function()
        local dir = pull_request { ["README"] = "x\n" }
        local result = lint(dir)
        assert.same({ 0, "No revisions since main.\n" }, { result.status, result.stdout })
        repository.git(dir, { "checkout", "-q", "main" })
        repository.commit(dir, { [path "b"] = app.revision("bbbb", "aaaa",
            'op.drop_table("site")') })
        repository.git(dir, { "checkout", "-q", "feature" })
        assert.equal("No revisions since main.\n", lint(dir).stdout)
        assert(fs.write(dir / path "n", app.revision("nnnn", "aaaa", 'op.drop_table("site")')))
        assert.matches("n.py:11: ban%-drop%-table", lint(dir).stdout)
        repository.commit(dir, {})
        assert.matches("n.py:11: ban%-drop%-table", lint(dir, "--since", "main").stdout)
        assert.equal("No revisions since feature.\n", lint(dir, "--since", "feature").stdout)
        -- One that is changed belongs to the branch, one that is only renamed does not.
        repository.git(dir, { "mv", path "a", path "a_renamed" })
        assert.equal("No revisions since HEAD.\n", lint(dir, "--since", "HEAD").stdout)
        assert(fs.write(dir / path "a_renamed", app.revision("aaaa", nil,
            'op.drop_table("older")')))
        assert.matches("a_renamed.py:11: ban%-drop%-table", lint(dir, "--since", "HEAD").stdout)
    end)

    it("says what it lacks to know that", function()
        local dir = pull_request {}
        local unknown = lint(dir, "--since", "nosuch")
        assert.equal(2, unknown.status)
        assert.matches("'nosuch'", unknown.stderr)
        repository.git(dir, { "branch", "-q", "-D", "main" })
        local result = lint(dir)
        assert.equal(2, result.status)
        assert.matches("neither origin/main nor main", result.stderr)
        assert.matches("--since REF", result.stderr, 1, true)
        repository.git(dir, { "checkout", "-q", "--orphan", "alone" })
        repository.commit(dir, { ["README"] = "alone\n" })
        result = lint(dir, "--since", "feature")
        assert.equal(1, result.status)
        assert.matches("HEAD and feature have no commit in common", result.stderr)
        assert.equal(1, lint(assert(repository.folder())).status)
    end)

    it("finds the folder by environments.yaml, and the dialect by alembic.ini", function()
        local dir = pull_request { [path "b"] = app.revision("bbbb", "aaaa",
            'op.create_index("ix", "site", ["name"])') }
        repository.git(dir, { "checkout", "-q", "main" })
        repository.git(dir, { "merge", "-q", "feature" })
        repository.commit(dir, { ["scripts/environments.yaml"] = "environments:\n"
            .. "  stage: { app: s, migrations: { dir: back } }\n" })
        assert(fs.mkdir(dir / "back"))
        repository.git(dir, { "mv", "alembic.ini", "migrations", "back" })
        repository.commit(dir, {})
        assert(fs.write(dir / "back" / path "c", app.revision("cccc", "bbbb",
            'op.create_index("iy", "site", ["name"])')))
        local result = lint(dir)
        assert.equal(3, result.status, result.all)
        -- An upgrade for the environment sets a lock_timeout.
        assert.equal("1 revision since main: 1 unaccepted finding", counts(result))
        assert.matches("^back/migrations/versions/c.py:11: require%-concurrent", result.stdout)
        assert.equal(0, lint(dir, "--dialect", "sqlite").status)
        local ini = assert(fs.read(dir / "back/alembic.ini"))
        assert(fs.write(dir / "back/alembic.ini", ini .. "sqlalchemy.url = sqlite:///a.db\n"))
        assert.equal(0, lint(dir).status)
        assert(fs.write(dir / "scripts/environments.yaml", "environments:\n"
            .. "  stage: { app: s, migrations: { dir: back } }\n  prod: { app: p }\n"))
        result = lint(dir)
        assert.equal(2, result.status)
        assert.matches("--environment prod", result.stderr, 1, true)
        assert.equal(0, lint(dir, "--environment", "stage").status)
    end)
end)

describe("dgrun migrations lint in the league", function()
    it("judges an unsafe branch, and all revisions since a tag", function()
        local project = league.new()
        local main = project:run { "migrations", "lint" }
        assert.same({ 0, "No revisions since origin/main.\n" }, { main.status, main.stdout })
        repository.git(project.dir, { "checkout", "-q", "feature/unsafe" })
        local unsafe = project:run { "migrations", "lint" }
        assert.equal(3, unsafe.status, unsafe.all)
        assert.matches("players_email.py:19: update%-without%-where", unsafe.stdout)
        local since = project:run { "migrations", "lint", "--since", "v1.1.1" }
        assert.matches("33 revisions since v1.1.1: 5 unaccepted findings", since.stdout)
        assert.not_matches("unread", since.stdout)
        assert.matches("lint +list hazards of", project:run({ "help", "migrations" }).stdout)
        assert.matches("\nmigrations +Check new migrations", project:run({ "list" }).stdout)
    end)
end)
