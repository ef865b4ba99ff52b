"""Many databases, each with a fault of its own, asked for at once of one pgseal."""
import contextlib
import dataclasses
import pathlib
import tempfile
import typing

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
