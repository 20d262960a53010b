-- What is said to do about a tool that did not migrate.
local carry_out = require "dgrun.migrations.execute"

local function hint_of(...)
    local ok, e = pcall(carry_out.fail, {}, { exit = { status = 1 }, lines = { ... },
        blockers = {} }, { op = "migrations.upgrade", what = "alembic upgrade", state = "",
        hint = "Mend the revision." })
    assert.is_false(ok)
    return e.hint
end

describe("the hint of a failed migration", function()
    it("is about the revision where the revision is wrong", function()
        for _, line in ipairs { 'psycopg.errors.UndefinedTable: relation "x" does not exist',
            "NameError: name 'op' is not defined", "" } do
            assert.equal("Mend the revision.", hint_of("INFO  running", line))
        end
    end)

    it("is about what is missing, or about the database, where those are the reason", function()
        for line, hint in pairs {
            ["ModuleNotFoundError: No module named 'asyncpg'"] =
                "Install asyncpg for the Python that runs Alembic, such as that of .venv.",
            ["FileNotFoundError: [Errno 2] No such file or directory: 'data/teams.csv'"] =
                "Create data/teams.csv, or correct the path where it is read.",
            ["ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 1)"] =
                "Is the database up, and is the URL the one of this environment?",
            ['asyncpg.exceptions.InvalidCatalogNameError: database "x" does not exist'] =
                "Is the database up, and is the URL the one of this environment?",
            ["sqlite3.OperationalError: unable to open database file"] =
                "Is the database up, and is the URL the one of this environment?",
        } do
            assert.equal(hint, hint_of("Traceback (most recent call last):", line,
                "(Background on this error at: https://sqlalche.me/e/20/e3q8)"))
        end
    end)
end)
