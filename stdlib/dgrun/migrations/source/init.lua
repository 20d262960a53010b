-- What revision files do, read from their Python source. No code of the files is run, and no
-- database is asked: for revisions that cannot be rendered, and for judging files alone.
local alembic_ini = require "dgrun.migrations.alembic_ini"
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local log = require "host.log"
local proc = require "host.proc"
local python = require "dgrun.project.python"

local M = {}

local TIMEOUT = 60

-- The last part of the Python program: it reads the files that it is given, and reports their
-- statements. No code of the files is run or imported.
local WALK = [==[
MEMORY = 1 << 30


# Follows what a revision does without running it. Where only a run could decide, it takes all
# branches.
class Walk(Statements, Expressions, Calls, Names):
    pass


def read(path, dialect):
    try:
        with open(path, "rb") as file:
            source = file.read()
        tree = ast.parse(source, path)
        text = source.decode("utf-8-sig", errors="replace")
    except SyntaxError as problem:
        return {"error": problem.msg, "line": problem.lineno or 1}
    except (ValueError, RecursionError, MemoryError) as problem:
        return {"error": "%s: %s" % (type(problem).__name__, problem), "line": 1}
    walk = Walk(text.replace("\r\n", "\n"), dialect)
    walk.run(tree)
    return {"items": walk.items}


def commits_each(path):
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False
    return any(isinstance(node, ast.keyword) and node.arg == "transaction_per_migration"
               and not (isinstance(node.value, ast.Constant) and not node.value.value)
               for node in ast.walk(tree))


def main():
    request = json.load(sys.stdin)
    # Expressions of the file are computed: that must not take all memory.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    files = {path: read(path, request["dialect"]) for path in request["files"]}
    env = request.get("env")
    json.dump({"files": files, "commits_each": bool(env) and commits_each(env)}, sys.stdout)


main()
]==]

local program = table.concat({
    require "dgrun.migrations.source.values", require "dgrun.migrations.source.sql",
    require "dgrun.migrations.source.statements", require "dgrun.migrations.source.expressions",
    require "dgrun.migrations.source.calls", require "dgrun.migrations.source.names",
    WALK,
}, "\n\n")

---@class dgrun.migrations.source
---@field parts dgrun.hazards.part[] what the revision does, in order
---@field sql string its statements
---@field is_complete boolean all of it could be read
---@field error? string why the file is not valid Python
---@field line? integer of that error

---The interpreter, which loads neither packages of the application nor modules of the current
---directory.
local function command(dir)
    local own = dir / ".venv/bin/python"
    local plain = fs.exists(own) and own or python.on_path "python3"
    local interpreter = plain and { plain } or python.find(dir)
    if not interpreter then
        err.raise { code = "migrations.no_python", op = "migrations.source",
            msg = "Python was not found: neither in " .. own .. " nor as python3 on PATH",
            hint = "Revision files are read by Python's own parser. Install Python 3." }
    end
    local argv = { unpack(interpreter) }
    for _, word in ipairs { "-I", "-S", "-c", program } do
        argv[#argv + 1] = word
    end
    return argv
end

local function part_of(item, file, revision)
    return { sql = item.sql, unread = item.unread and log.clean(item.unread),
        reason = item.reason and log.clean(item.reason), words = item.words, file = file,
        line = item.line, lined = item.lined, types = item.types, revision = revision }
end

local function source_of(found, file, revision)
    local parts, texts, is_complete = {}, {}, not found.error
    for i, item in ipairs(found.items or {}) do
        parts[i] = part_of(item, file, revision)
        texts[#texts + 1] = item.sql and item.sql .. ";"
        is_complete = is_complete and item.sql ~= nil
    end
    if found.error then
        parts[1] = part_of({ unread = revision, reason = "not valid Python: " .. found.error,
            line = found.line }, file, revision)
    end
    return { parts = parts, sql = table.concat(texts, "\n\n") .. "\n", is_complete = is_complete,
        error = found.error and log.clean(found.error), line = found.line }
end

---A revision runs in a transaction, which ends with the revision where env.py says so.
local function within_transaction(source, revision, commits_each)
    table.insert(source.parts, 1, { sql = "BEGIN", revision = revision })
    if commits_each then
        table.insert(source.parts, { sql = "COMMIT", revision = revision })
    end
end

---A source that could not be read at all.
---@param revision dgrun.revision
---@param reason string
---@return dgrun.migrations.source
function M.unreadable(revision, reason)
    local part = part_of({ unread = revision.revision, reason = reason, line = 1 },
        revision.file, revision.revision)
    return { parts = { part }, sql = "", is_complete = false }
end

---@param opts {dir: string, dialect: string, timeout?: number} dir: folder of the application
---@param list dgrun.revision[]
---@return table<string, dgrun.migrations.source> # by revision
function M.read(opts, list)
    local files = {}
    for i, revision in ipairs(list) do
        files[i] = fs.absolute(revision.file)
    end
    local has_ini = fs.exists(opts.dir / "alembic.ini")
    local env = has_ini and fs.absolute(alembic_ini.script(opts.dir) / "env.py") or nil
    local result = check(proc.run {
        argv = command(opts.dir), read_only = true, timeout = opts.timeout or TIMEOUT,
        stdin = json.encode { files = json.array(files), dialect = opts.dialect, env = env },
    })
    if result.status ~= 0 then
        err.raise { code = "migrations.source_failed", op = "migrations.source",
            msg = "the revision files could not be read: "
                .. (log.clean(result.stderr):match("([^\n]*)%s*$") or "") }
    end
    local report, sources = check(json.decode(result.stdout)), {}
    for i, revision in ipairs(list) do
        local id = revision.revision
        sources[id] = source_of(report.files[files[i]], revision.file, id)
        within_transaction(sources[id], id, report.commits_each)
    end
    return sources
end

return M
