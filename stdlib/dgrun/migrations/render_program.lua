-- A Python program: runs the project's env.py with its own Alembic, and reports the SQL of some
-- revisions as JSON. It changes nothing: on PostgreSQL its sessions are read-only by the server's
-- own setting, SQLite's files are replaced by copies.
return [==[
import atexit, ctypes, fcntl, glob, io, json, os, pwd, re, shutil, signal, subprocess, sys
import tempfile, time, urllib.parse

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
from alembic.util import CommandError
from sqlalchemy import event, literal
from sqlalchemy.engine import Engine, make_url
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
        self.sqlite3, self.connect, self.made, self.count = sqlite3, sqlite3.connect, {}, 0
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
            self.count += 1
            copy = os.path.join(scratch.folder(), "%d.db" % self.count)
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL, 0o600))
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
                    os.chmod(copy + suffix, 0o600)


# PostgreSQL: its sessions are read-only by the server's own setting; what would write is not sent.
class ReadOnly:
    SETTING = "default_transaction_read_only"
    OPTION = "-c default_transaction_read_only=on"
    READS = set("SELECT WITH VALUES TABLE SHOW SET RESET BEGIN START COMMIT END ROLLBACK ABORT "
                "SAVEPOINT RELEASE EXPLAIN DECLARE FETCH CLOSE DISCARD PRAGMA".split())
    WRITES = re.compile(
        r"read[_ ]only|read\s+write|\binto\b|\b(insert|update|delete|merge)\s|"
        r"nextval|setval|advisory|set_config|explain\s.*analy", re.I | re.S)

    def __init__(self):
        self.recorder = self.shadow = None
        os.environ["PGOPTIONS"] = (os.environ.get("PGOPTIONS", "") + " " + self.OPTION).strip()
        event.listen(Engine, "do_connect", self.connecting)
        event.listen(Engine, "before_cursor_execute", self.executing, retval=True)
        event.listen(Engine, "begin", lambda connection: self.transaction(connection, "BEGIN;"))
        event.listen(Engine, "commit", lambda connection: self.transaction(connection, "COMMIT;"))
        try:
            import asyncpg
        except ImportError:
            return
        connect = asyncpg.connect

        def read_only(*args, **options):
            if not self.shadow or options.get("database") != self.shadow.name:
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
        if self.shadow:
            self.shadow.redirect(dialect, cargs, cparams)
        elif dialect.driver == "asyncpg":
            cparams["server_settings"] = self.settings(cparams.get("server_settings"))
        else:
            given = cparams.get("options")
            cparams["options"] = (given + " " + self.OPTION) if given else os.environ["PGOPTIONS"]

    def writes(self, statement):
        text = re.sub(r"^(\s|\(|--[^\n]*(\n|$)|/\*.*?\*/)+", "", statement, flags=re.S)
        word = re.match(r"\w*", text).group().upper()
        return word not in self.READS or bool(self.WRITES.search(text))

    def executing(self, connection, cursor, statement, parameters, context, executemany):
        name = connection.dialect.name
        writes = self.writes(statement)
        if self.recorder and (writes or re.match(r"\s*SET\b", statement, re.I)):
            for each in (parameters if executemany else [parameters])[:MANY]:
                self.recorder.write(filled_in(connection.dialect, cursor, statement, each) + ";")
        if name != "postgresql" or self.shadow or not writes:
            return statement, parameters
        if context is not None:
            # SQLAlchemy 2 derives executemany from the style.
            if hasattr(context, "execute_style"):
                context.execute_style = type(context.execute_style).EXECUTE
            else:
                context.executemany = False
        return "SELECT 1", type(parameters)() if isinstance(parameters, (tuple, dict)) else ()

    def transaction(self, connection, text):
        level = connection.get_execution_options().get("isolation_level")
        if self.recorder and level != "AUTOCOMMIT":
            self.recorder.write(text)


MANY = 100
PLACEHOLDERS = re.compile(r"'(?:[^']|'')*'|%\((\w+)\)s|%s|\?|(?<!:):(\w+)|\$(\d+)")


# A statement with its values in it.
def filled_in(dialect, cursor, statement, parameters):
    doubled = dialect.paramstyle in ("format", "pyformat")
    statement = statement.strip().rstrip(";")
    if not parameters:
        return statement.replace("%%", "%") if doubled else statement
    if dialect.driver == "psycopg2":
        return cursor.mogrify(statement, parameters).decode()
    values = iter(parameters.values() if isinstance(parameters, dict) else parameters)

    def value_of(match):
        text, name, number = match.group(), match.group(1) or match.group(2), match.group(3)
        if text.startswith("'"):
            return text
        if name and not isinstance(parameters, dict):
            return text
        value = (parameters[name] if name else parameters[int(number) - 1] if number
                 else next(values))
        try:
            return str(literal(value).compile(dialect=dialect,
                                              compile_kwargs={"literal_binds": True}))
        except Exception:
            return "'%s'" % str(value).replace("'", "''")
    text = PLACEHOLDERS.sub(value_of, statement)
    return text.replace("%%", "%") if doubled else text


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
            self.held = [text]
        elif text.strip() == "COMMIT;" and self.held:
            self.held = []
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


# PostgreSQL: the schema in a database of its own, where revisions can really run.
class Shadow:
    FORGET = ("dsn", "database", "dbname")

    def __init__(self):
        self.name = "dgrun_plan_%d_%s" % (time.time(), os.urandom(4).hex())
        self.created = False

    # PostgreSQL's programs get what libpq reads, and none of the application's secrets.
    def run(self, argv, env, **options):
        kept = {name: value for name, value in os.environ.items()
                if name in ("PATH", "HOME", "USER", "LANG", "TMPDIR", "TZ")
                or name.startswith(("PG", "LC_"))}
        done = subprocess.run(argv, env={**kept, **env}, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, **options)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace").strip().split("\n")[0])
        return done.stdout

    def real(self):
        url = make_url(os.environ["DATABASE_URL"].replace("postgres://", "postgresql://", 1))
        mode = url.query.get("sslmode") or url.query.get("ssl")
        env = {"PGHOST": url.host or url.query.get("host"), "PGPORT": url.port and str(url.port),
               "PGUSER": url.username, "PGPASSWORD": url.password and str(url.password),
               "PGDATABASE": url.database,
               "PGSSLMODE": mode if mode in ("disable", "allow", "prefer", "require", "verify-ca",
                                             "verify-full") else None}
        return {name: value for name, value in env.items() if value}

    def psql(self, text, env):
        return self.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"],
                        {**env, "PGOPTIONS": ""}, input=text)

    def fill(self):
        dump = ["pg_dump", "--no-owner", "--no-privileges"]
        text = self.run(dump + ["-s"], self.real())
        if request["from"]:
            text += self.run(dump + ["-a", "-t", "*.alembic_version"], self.real())
        text = re.sub(rb"(?m)^(SET transaction_timeout|CREATE SCHEMA public;).*$", b"", text)
        self.psql(b"CREATE DATABASE %s;" % self.name.encode(), self.server)
        self.created = True
        self.psql(text, {**self.server, "PGDATABASE": self.name})

    def redirect(self, dialect, cargs, cparams):
        for name in self.FORGET:
            cparams.pop(name, None)
        cargs[:] = []
        if dialect.driver == "asyncpg":
            cparams["database"] = self.name
        else:
            cparams.update(dbname=self.name, options="-c default_transaction_read_only=off")


# On a throw-away server of this computer.
class OwnServer(Shadow):
    FORGET = Shadow.FORGET + ("hostaddr", "password", "passfile", "service", "sslmode",
                              "sslrootcert", "sslcert", "sslkey", "channel_binding", "ssl")

    def __init__(self):
        super().__init__()
        self.process = None

    def unprivileged(self):
        if os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    # The folder of the server's programs: on PATH, or where Debian has them.
    def programs(self):
        found = shutil.which("initdb")
        folders = [os.path.dirname(found)] if found else sorted(
            glob.glob("/usr/lib/postgresql/*/bin"),
            key=lambda path: -int(re.sub(r"\D", "", path.split("/")[4]) or 0))
        for folder in folders:
            if os.path.exists(os.path.join(folder, "initdb")):
                return folder
        raise FileNotFoundError("PostgreSQL's server programs are not installed")

    # It ends with this process, even if that is killed.
    def start(self):
        bin = self.programs()
        self.folder = os.path.join(scratch.folder(), "postgres")
        os.chmod(scratch.folder(), 0o711)
        os.mkdir(self.folder, 0o700)
        user = self.unprivileged()
        data = os.path.join(self.folder, "data")
        clean = {"PGOPTIONS": "", "HOME": self.folder}
        self.run([os.path.join(bin, "initdb"), "-D", data, "-U", "dgrun", "-A", "trust",
                  "--no-sync", "-E", "UTF8", "--locale=C"], clean, cwd=self.folder, **user)
        libc = ctypes.CDLL(None)
        self.process = subprocess.Popen(
            [os.path.join(bin, "postgres"), "-D", data, "-k", self.folder,
             "-c", "listen_addresses=", "-c", "fsync=off"],
            env={"PATH": os.environ.get("PATH", "")}, cwd=self.folder, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: libc.prctl(1, signal.SIGQUIT), **user)
        atexit.register(self.stop)
        self.server = {"PGHOST": self.folder, "PGPORT": "5432", "PGUSER": "dgrun",
                       "PGDATABASE": "postgres", "PGSSLMODE": "disable", "PGPASSWORD": ""}
        self.wait()

    def wait(self):
        for attempt in range(100):
            try:
                return self.psql(b"SELECT 1", self.server)
            except RuntimeError:
                if attempt == 99 or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()
            self.process = None

    def redirect(self, dialect, cargs, cparams):
        super().redirect(dialect, cargs, cparams)
        cparams.update(host=self.folder, port=5432, user="dgrun")


# On the server of the database, where its role may create one: extensions that this computer does
# not have are there.
class SameServer(Shadow):
    OLD = 3600

    def start(self):
        self.server = self.real()
        if self.psql(b"SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user",
                     self.server).strip() != b"t":
            raise RuntimeError("the role of the database may not create one")
        self.clean()
        atexit.register(self.stop)
        signal.signal(signal.SIGTERM, self.end)

    # What killed plans left.
    def clean(self):
        names = self.psql(b"SELECT datname FROM pg_database WHERE datname ~ "
                          b"'^dgrun_plan_[0-9]+_[0-9a-f]{8}$' AND NOT EXISTS (SELECT FROM "
                          b"pg_stat_activity a WHERE a.datname = pg_database.datname)", self.server)
        for name in names.decode().split():
            if time.time() - int(name.split("_")[2]) > self.OLD:
                self.drop(name)

    def drop(self, name, how=""):
        try:
            self.psql(b"DROP DATABASE IF EXISTS %s%s;" % (name.encode(), how.encode()), self.server)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            print("the database %s stays: %s" % (name, reason(error)), file=sys.stderr)

    # The project's engines may still have sessions in it.
    def stop(self):
        if self.created:
            self.drop(self.name, " WITH (FORCE)")
            self.created = False

    def end(self, *_):
        self.stop()
        os._exit(128 + signal.SIGTERM)


def shadow_of_postgres():
    for kind in (OwnServer, SameServer):
        shadow = kind()
        try:
            shadow.start()
            shadow.fill()
            return shadow
        except (OSError, RuntimeError, KeyError, subprocess.SubprocessError) as error:
            print("no copy of the schema could be made: %s" % reason(error), file=sys.stderr)
            shadow.stop()


class Failed(Exception):
    pass


class Pass(alembic.config.CommandLine):
    def __init__(self, recorder, last, offline, stops=False):
        super().__init__(prog="alembic")
        self.recorder, self.last, self.offline, self.stops = recorder, last, offline, stops

    def steps(self, script, context):
        for id in ids[:ids.index(self.last) + 1]:
            step = MigrationStep.upgrade_from_script(script.revision_map, script.get_revision(id))
            step.migration_fn = self.recorded(id, step.migration_fn, context)
            yield step

    def recorded(self, id, function, context):
        def run(**options):
            self.recorder.begin(id)
            try:
                function(**options)
            except (Exception, SystemExit) as error:
                self.recorder.fail(id, error)
                if self.stops:
                    raise Failed("not tried: %s fails before it on a copy of the database" % id)
                if not self.offline:
                    context.connection.connection.rollback()
        return run

    def run_cmd(self, config, options):
        config.output_buffer = io.StringIO()
        script = ScriptDirectory.from_config(config)
        with EnvironmentContext(config, script, as_sql=self.offline, starting_rev=None,
                                fn=lambda heads, context: self.steps(script, context),
                                destination_rev=self.last):
            script.run_env()

    # Why it ended early, nil when it did not.
    def go(self):
        try:
            self.main(["upgrade", self.last] + (["--sql"] if self.offline else []))
        except Failed as error:
            return str(error)
        except (Exception, SystemExit) as error:
            return reason(error)


def prepare(recorder):
    MigrationContext.get_current_heads = lambda self: tuple(request["from"])
    DefaultImpl.static_output = lambda self, text: recorder.write(text)
    update = HeadMaintainer.update_to_step

    def update_to_step(self, step):
        try:
            update(self, step)
        except (AssertionError, KeyError, CommandError):
            # The database is not where the revisions begin, or its statements are not sent.
            pass
    HeadMaintainer.update_to_step = update_to_step


def add(result, recorder, whole, how):
    for id in ids:
        if not result.get(id, {}).get("sql"):
            sql = recorder.sql(id)
            error = recorder.errors.get(id) or whole
            if sql is not None:
                result[id] = {"sql": sql, "how": how}
            elif error or id not in result:
                result[id] = {"error": error or "env.py ran no migrations"}


def main():
    result, recorder, fence, copies = {}, Recorder(), ReadOnly(), Copies()
    prepare(recorder)
    add(result, recorder, Pass(recorder, ids[-1], True).go(), "offline")
    missing = [id for id in ids if "sql" not in result[id]]
    if missing and request["live"]:
        copies.made = {}
        if request["dialect"] == "postgresql":
            fence.shadow = shadow_of_postgres()
        copied = request["dialect"] == "sqlite" or fence.shadow is not None
        fence.recorder = recorder = Recorder()
        add(result, recorder, Pass(recorder, missing[-1], False, copied).go(),
            "copy" if copied else "read-only")
    json.dump(result, report_to)
    report_to.flush()


main()
]==]
