"""Source servers: PostgreSQL of the machine's own major version, and others from unpacked Debian roots."""
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import stat
import subprocess
import time

import psycopg2

from .shell import PROJECT, run, wait_for

CACHE = pathlib.Path(os.environ.get("PGSEAL_TEST_CACHE", "/var/cache/pgseal"))
NATIVE = 15  # Debian 12's own
CONFIG = """
listen_addresses = ''
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 60
max_wal_size = 128MB
max_prepared_transactions = 5
wal_level = logical
log_min_messages = warning
autovacuum = on
"""


@contextlib.contextmanager
def building(major):
    """Runs that go on beside each other do not make the same thing at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"lock-{major}", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tools_dir(major):
    """Where pg_dump & co. of that major are: Debian's directory, or wrappers over an unpacked root (built once, cached)."""
    if major == NATIVE:
        return pathlib.Path(f"/usr/lib/postgresql/{major}/bin")
    base = CACHE / f"tools-{major}"
    with building(major):
        if not (base / "bin" / "pg_dump").exists():
            run([PROJECT / "deploy/images/tools", str(major), base], timeout=1200)
    return base / "bin"


class Server:
    """One cluster in a private directory, reached over a UNIX socket only; superuser `postgres`, trust."""

    def __init__(self, major, directory, keep=False):
        """keep: use the cluster that is there already, if one is."""
        self.major = major
        self.dir = pathlib.Path(directory)
        self.process = None
        if major == NATIVE:
            self.root, inside = None, self.dir
        else:
            # The server runs in the unpacked root, where its libraries are.
            self.root = tools_dir(major).parent / "root"
            inside = pathlib.Path("/tmp") / self.dir.name
            self.dir = self.root / inside.relative_to("/")
            with building(major):
                self._devices()
            (self.root / "dev/shm").mkdir(exist_ok=True)
            (self.root / "dev/shm").chmod(0o1777)
        self.inside = inside
        self.bin = f"/usr/lib/postgresql/{major}/bin"
        if not keep or not (self.dir / "data/PG_VERSION").exists():
            self._init()

    def _devices(self):
        for name, major_minor in (("null", (1, 3)), ("zero", (1, 5)), ("urandom", (1, 9))):
            node = self.root / "dev" / name
            if not node.is_char_device():
                node.unlink(missing_ok=True)
                os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(*major_minor))
                node.chmod(0o666)

    def _init(self):
        inside = self.inside
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        run(self._wrap_root(["chown", "postgres:", str(inside)]))
        self._as_postgres([f"{self.bin}/initdb", "-D", f"{inside}/data", "-U", "postgres", "--auth=trust", "--no-sync",
                           "--encoding=UTF8", "--locale=C.UTF-8"])
        with open(self.dir / "data/postgresql.conf", "a") as f:
            f.write(CONFIG + f"unix_socket_directories = '{inside}'\n")

    def _wrap_root(self, argv):
        return ["chroot", str(self.root), *argv] if self.root else argv

    def _wrap(self, argv):
        return self._wrap_root(["/sbin/runuser", "-u", "postgres", "--", *argv])

    def _as_postgres(self, argv):
        return run(self._wrap(argv), cwd="/")

    def start(self):
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen(self._wrap([f"{self.bin}/postgres", "-D", f"{self.inside}/data"]), cwd="/",
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for(f"PostgreSQL {self.major}", self._ready)
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError((self.dir / "log").read_text())
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, kill=False):
        if self.process and self.process.poll() is None:
            pidfile = self.dir / "data/postmaster.pid"
            pid = int(pidfile.read_text().split()[0]) if pidfile.exists() else self.process.pid
            os.kill(pid, 9 if kill else 2)
            self.process.wait(30)
        self.process = None
        self.log.close()

    def remove(self):
        if self.process:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def conninfo(self, database, user="postgres", **more):
        def quote(value):
            return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
        parts = {"host": self.dir, "user": user, "dbname": database, **more}
        return " ".join(f"{k}={quote(v)}" for k, v in parts.items())

    def connect(self, database, user="postgres", **more):
        connection = psycopg2.connect(self.conninfo(database, user, **more))
        connection.autocommit = True
        return connection

    def sql(self, database, text, user="postgres"):
        """Runs it; returns the rows of the last statement, if it has any."""
        connection = self.connect(database, user)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    @contextlib.contextmanager
    def locked(self, database, table):
        """Holds ACCESS EXCLUSIVE on the table in the block: a dump that comes stands still. Yields a function that waits
        until one does."""
        connection = self.connect(database)
        try:
            connection.autocommit = False
            connection.cursor().execute(f"LOCK TABLE {table}")
            yield lambda: wait_for("a dump that waits for the lock",
                                   lambda: self.sql(database, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        finally:
            connection.close()

    def require_password(self, user, password):
        """Makes the role; from then on it has to give its password."""
        self.sql("postgres", f"DROP ROLE IF EXISTS {user}; CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'")
        rules = self.dir / "data/pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n" + rules.read_text())
        self.sql("postgres", "SELECT pg_reload_conf()")

    def psql_file(self, database, path, stop_on_error=True):
        """Runs a script as psql would, from the file's bytes; returns what went to stderr."""
        argv = [f"{tools_dir(self.major)}/psql", "-X", "-q", "-d", self.conninfo(database), "-f", str(path)]
        if stop_on_error:
            argv += ["-v", "ON_ERROR_STOP=1"]
        return run(argv, check=stop_on_error, timeout=1800).stderr

    def create(self, database, script=None, **options):
        extra = " ".join(f"{k.upper()} {v}" for k, v in options.items())
        name = '"' + database.replace('"', '""') + '"'
        self.sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql("postgres", f"CREATE DATABASE {name} {extra}")
        if script:
            self.psql_file(database, script)


def version_of(text):
    return int(re.search(r"(\d+)", text).group(1))


def settle(seconds):
    time.sleep(seconds)
