-- A Python program: runs the project's env.py with its own Alembic, and reports the SQL of some
-- revisions as JSON. It changes nothing: on PostgreSQL its sessions are read-only by the server's
-- own setting, SQLite's files are replaced by copies.
return [==[
import atexit, fcntl, io, json, os, re, shutil, sys, tempfile, time
import urllib.parse

# What env.py prints is not part of the report.
report_to = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
request = json.loads(sys.argv[1])
ids = request["revisions"]

# A folder alembic/ of the project must not hide the package.
found_in, here = list(sys.path), os.path.realpath(".")
sys.path[:] = [path for path in found_in if os.path.realpath(path or ".") != here]
import alembic.command, alembic.config, alembic.context, alembic.op
from alembic.ddl.impl import DefaultImpl
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import HeadMaintainer, MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Engine
sys.path[:] = found_in


# Files of this run. The lock says that it is alive: what killed runs left is removed.
class Scratch:
    PREFIX, YOUNG = "dgrun-plan-", 60

    def __init__(self):
        self.path = self.lock = None

    def folder(self):
        if not self.path:
            self.clean()
            self.path = tempfile.mkdtemp(prefix=self.PREFIX)
            atexit.register(shutil.rmtree, self.path, ignore_errors=True)
            self.lock = open(os.path.join(self.path, "lock"), "w")
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self.path

    def clean(self):
        for entry in os.scandir(tempfile.gettempdir()):
            try:
                state = entry.stat(follow_symlinks=False)
                if (entry.name.startswith(self.PREFIX) and entry.is_dir(follow_symlinks=False)
                        and state.st_uid == os.getuid()
                        and time.time() - state.st_mtime > self.YOUNG
                        and self.dead(os.path.join(entry.path, "lock"))):
                    shutil.rmtree(entry.path, ignore_errors=True)
            except OSError:
                pass

    def dead(self, path):
        if not os.path.exists(path):
            return True
        with open(path) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                return False


scratch = Scratch()


# SQLite: every connection to a file becomes one to a copy of it.
class Copies:
    def __init__(self):
        import sqlite3
        self.sqlite3, self.connect, self.made = sqlite3, sqlite3.connect, {}
        sqlite3.connect = sqlite3.dbapi2.connect = self.redirected

    def redirected(self, database, *args, **options):
        name = os.fsdecode(database)
        if options.get("uri") and name.startswith("file:"):
            url = urllib.parse.urlsplit(name)
            if "mode=memory" in url.query or ":memory:" in url.path:
                return self.connect(database, *args, **options)
            name = urllib.parse.unquote(url.path)
        elif name in ("", ":memory:"):
            return self.connect(database, *args, **options)
        return self.connect(self.of(os.path.realpath(name)), *args, **options)

    def of(self, path):
        if path not in self.made:
            copy = os.path.join(scratch.folder(), "%d.db" % len(self.made))
            if os.path.exists(path):
                self.copy(path, copy)
            self.made[path] = copy
        return self.made[path]

    def copy(self, path, copy):
        try:
            source = self.connect("file:%s?mode=ro" % urllib.parse.quote(path), uri=True)
            target = self.connect(copy)
            try:
                source.backup(target)
            finally:
                source.close()
                target.close()
        except self.sqlite3.Error:
            # A transaction that a killed process left is rolled back in the copy.
            for suffix in ("", "-journal", "-wal"):
                if os.path.exists(path + suffix):
                    shutil.copyfile(path + suffix, copy + suffix)


# PostgreSQL: its sessions are read-only by the server's own setting; what would write is not sent.
class ReadOnly:
    SETTING = "default_transaction_read_only"
    OPTION = "-c default_transaction_read_only=on"
    READS = {"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "SET", "RESET", "BEGIN", "START",
             "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "EXPLAIN", "DECLARE", "FETCH",
             "CLOSE", "DISCARD", "PRAGMA"}
    WRITES = re.compile(
        r"read[_ ]only|read\s+write|\binto\b|\b(insert|update|delete|merge)\s|"
        r"nextval|setval|advisory|set_config|explain\s.*analy", re.I | re.S)

    def __init__(self, recorder):
        self.recorder = recorder
        os.environ["PGOPTIONS"] = (os.environ.get("PGOPTIONS", "") + " " + self.OPTION).strip()
        event.listen(Engine, "do_connect", self.connecting)
        event.listen(Engine, "before_cursor_execute", self.executing, retval=True)
        try:
            import asyncpg
        except ImportError:
            return
        connect = asyncpg.connect

        def read_only(*args, **options):
            options["server_settings"] = self.settings(options.get("server_settings"))
            return connect(*args, **options)
        asyncpg.connect = read_only

    def settings(self, given):
        return {**(given or {}), self.SETTING: "on"}

    def connecting(self, dialect, record, cargs, cparams):
        if dialect.name == "sqlite":
            return
        if dialect.name != "postgresql" or dialect.driver not in (
                "psycopg2", "psycopg", "psycopg_async", "asyncpg"):
            raise RuntimeError("a plan cannot make a session of %s+%s read-only, so it does not "
                               "connect" % (dialect.name, dialect.driver))
        if dialect.driver == "asyncpg":
            cparams["server_settings"] = self.settings(cparams.get("server_settings"))
        else:
            given = cparams.get("options")
            cparams["options"] = (given + " " + self.OPTION) if given else os.environ["PGOPTIONS"]

    def writes(self, statement):
        text = re.sub(r"^(\s|\(|--[^\n]*(\n|$)|/\*.*?\*/)+", "", statement, flags=re.S)
        word = re.match(r"\w*", text).group().upper()
        return word not in self.READS or bool(self.WRITES.search(text))

    def executing(self, connection, cursor, statement, parameters, context, executemany):
        if connection.dialect.name != "postgresql" or not self.writes(statement):
            return statement, parameters
        if context is not None:
            context.executemany = False
            if hasattr(context, "execute_style"):
                context.execute_style = type(context.execute_style).EXECUTE
        return "SELECT 1", type(parameters)() if isinstance(parameters, (tuple, dict)) else ()


def reason(error):
    lines = str(error).strip().splitlines() or [""]
    return "%s: %s" % (type(error).__name__, lines[0]) if lines[0] else type(error).__name__


# What each revision does: its statements, or why they cannot be known.
class Recorder:
    def __init__(self):
        self.at, self.parts, self.errors, self.held = None, {}, {}, []

    def write(self, text):
        if text.startswith("-- Running "):
            return
        if text.strip() == "BEGIN;":
            # It belongs to the revision that follows.
            self.held.append(text)
        elif self.at:
            self.parts[self.at] += self.take() + [text]

    def take(self):
        held, self.held = self.held, []
        return held

    def begin(self, id):
        self.at, self.parts[id] = id, self.take()

    def fail(self, id, error):
        self.errors[id] = reason(error)

    def sql(self, id):
        if id in self.parts and id not in self.errors:
            return "\n\n".join(self.parts[id]) + "\n"


class Pass(alembic.config.CommandLine):
    def __init__(self, recorder):
        super().__init__(prog="alembic")
        self.recorder = recorder

    def steps(self, script):
        for id in ids:
            step = MigrationStep.upgrade_from_script(script.revision_map, script.get_revision(id))
            step.migration_fn = self.recorded(id, step.migration_fn)
            yield step

    def recorded(self, id, function):
        def run(**options):
            self.recorder.begin(id)
            try:
                function(**options)
            except (Exception, SystemExit) as error:
                self.recorder.fail(id, error)
        return run

    def run_cmd(self, config, options):
        config.output_buffer = io.StringIO()
        script = ScriptDirectory.from_config(config)
        with EnvironmentContext(config, script, fn=lambda heads, context: self.steps(script),
                                as_sql=True, starting_rev=None, destination_rev=ids[-1]):
            script.run_env()


def offline(recorder):
    MigrationContext.get_current_heads = lambda self: tuple(request["from"])
    DefaultImpl.static_output = lambda self, text: recorder.write(text)
    update = HeadMaintainer.update_to_step

    def update_to_step(self, step):
        try:
            update(self, step)
        except (AssertionError, KeyError):
            # The database is not where the revisions begin.
            pass
    HeadMaintainer.update_to_step = update_to_step
    Pass(recorder).main(["upgrade", ids[-1], "--sql"])


def main():
    recorder, whole = Recorder(), None
    ReadOnly(recorder)
    Copies()
    try:
        offline(recorder)
    except (Exception, SystemExit) as error:
        whole = reason(error)
    result = {}
    for id in ids:
        sql = recorder.sql(id)
        result[id] = {"sql": sql} if sql is not None else {
            "error": recorder.errors.get(id) or whole or "env.py ran no migrations"}
    json.dump(result, report_to)
    report_to.flush()


main()
]==]
