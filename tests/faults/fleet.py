"""Many databases, each with a fault of its own, asked for at once of one pgseal."""
import contextlib
import dataclasses
import pathlib
import tempfile
import typing

from support.shell import run as run_command
from support.stack import Stack


@dataclasses.dataclass
class Case:
    name: str
    state: str
    codes: typing.Union[str, tuple]
    mentions: tuple = ()
    sql: str = ""  # makes the database
    user: str = "postgres"
    conninfo: typing.Callable = None  # (server) -> connection string, in place of that of a database made by sql
    options: dict = dataclasses.field(default_factory=dict)  # of Stack, for this database
    lock: str = ""  # a table that somebody holds all the while

    @property
    def id(self):
        return "".join(c if c.isalnum() else "-" for c in self.name)

    @property
    def database(self):
        return "f_" + self.id.replace("-", "_").lower()


def chosen(request):
    """The cases of this module that are selected to run."""
    return [i.callspec.params["case"] for i in request.session.items
            if i.module is request.module and "case" in getattr(getattr(i, "callspec", None), "params", {})]


@contextlib.contextmanager
def run(base, server, cases, **options):
    """Yields the stack, and case id -> what GET says of its checkpoint after its end."""
    databases = {}
    with contextlib.ExitStack() as held:
        for case in cases:
            if case.conninfo:
                databases[case.id.lower()] = case.conninfo(server)
                continue
            server.create(case.database)
            server.sql(case.database, case.sql)
            databases[case.id.lower()] = server.conninfo(case.database, user=case.user)
            if case.lock:
                held.enter_context(server.locked(case.database, case.lock))
        stack = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", databases,
                      each={case.id.lower(): case.options for case in cases}, slots={"dump": 3, "drill": 3}, **options)
        try:
            stack.start()
            asked = {case.id: stack.request(case.id.lower()) for case in cases}
            yield stack, {name: stack.wait_final(identity) for name, identity in asked.items()}
        finally:
            stack.remove()
        for case in cases:
            if not case.conninfo:
                server.sql("postgres", f"DROP DATABASE {case.database} WITH (FORCE)")


class World:
    """What scenarios make: databases, stacks, small disks. All of it goes in the end."""

    def __init__(self, base, server, engine=None):
        self.base, self.server, self.engine = base, server, engine
        self.kept = contextlib.ExitStack()

    def database(self, name, sql):
        """Returns `databases` for a stack: one, called shop."""
        self.server.create(name)
        self.server.sql(name, sql)
        return {"shop": self.server.conninfo(name)}

    def stack(self, databases, start=True, **options):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=self.base)) / "p"
        stack = Stack(directory, databases, **options)
        self.kept.callback(stack.remove)
        return stack.start() if start else stack

    def disk(self, path, megabytes):
        """A disk of its own at a directory that is made for it."""
        disk = Disk(path, megabytes)
        self.kept.callback(disk.remove)
        return disk

    def locked(self, database, table):
        """Until the end, or until what it returns is closed; wait() waits for a dump that stands before it."""
        held = contextlib.ExitStack()
        held.wait = held.enter_context(self.server.locked(database, table))
        self.kept.callback(held.close)
        return held


class Disk:
    def __init__(self, path, megabytes):
        self.path, self.ballast = pathlib.Path(path), pathlib.Path(path) / "ballast"
        self.path.mkdir(parents=True, exist_ok=True)
        run_command(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "pgseal-test", self.path])

    def fill(self):
        """To the last byte."""
        with open(self.ballast, "ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def free(self):
        self.ballast.unlink()

    def remove(self):
        run_command(["umount", "-l", self.path], check=False)


@contextlib.contextmanager
def scenarios(base, server, request, table, engine=None):
    """Scenarios spend their time waiting, so they wait together: each chosen generator of the table, called with a World,
    runs up to its first yield. Yields name -> Scenario, of which `finish` resumes it. (Chosen: by a parameter `what`.)"""
    chosen = [i.callspec.params["what"] for i in request.session.items
              if i.module is request.module and "what" in getattr(getattr(i, "callspec", None), "params", {})]
    world = World(base, server, engine)
    with world.kept:
        begun = {name: Scenario(table[name](world)) for name in chosen}
        yield begun


class Scenario:
    def __init__(self, steps):
        self.steps, self.failure = steps, None
        try:
            next(steps)
        except Exception as e:  # told where this one is judged, not where another is
            self.failure = e

    def finish(self):
        if self.failure:
            raise self.failure
        for _ in self.steps:
            pass
