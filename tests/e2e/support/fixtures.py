"""Fixtures: servers and the container engine once per run, a pgseal stack per test. A pytest plugin; tests/e2e/run loads it."""
import os
import pathlib
import shutil
import tempfile

import pytest

from support import s3 as s3_server
from support.engine import Engine
from support.postgres import NATIVE, Server
from support.stack import Stack

LONG = bool(os.environ.get("PGSEAL_LONG"))


def pytest_collection_modifyitems(items):
    """Tests marked long belong to `make test-long`: they are not collected otherwise."""
    if not LONG:
        items[:] = [i for i in items if not i.get_closest_marker("long")]


def pytest_configure(config):
    config.addinivalue_line("markers", "long: for make test-long only")


def pytest_terminal_summary(terminalreporter):
    """What tests have to tell (record_property), passed or not, and wherever they ran."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []) if getattr(report, "when", "") == "call" else []:
                terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def base():
    """A short private directory (UNIX socket paths are limited), traversable by the servers' user."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="pgs.", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def engine(base):
    e = Engine(base / "engine").start()
    yield e
    e.stop()


@pytest.fixture(scope="session")
def s3(base):
    """An S3 server, with and without TLS."""
    s = s3_server.Server(base / "s3").start()
    yield s
    s.stop()


@pytest.fixture
def bucket(s3):
    return s3.bucket(f"b-{os.urandom(6).hex()}")


@pytest.fixture(scope="session")
def server(base):
    """PostgreSQL of the machine's own major version."""
    s = Server(NATIVE, base / f"pg{NATIVE}").start()
    yield s
    s.remove()


@pytest.fixture(scope="session")
def servers(base, server):
    """Call with a major version."""
    started = {NATIVE: server}

    def get(major):
        if major not in started:
            started[major] = Server(major, base / f"{base.name}-pg{major}").start()
        return started[major]

    yield get
    for major, s in started.items():
        if major != NATIVE:
            s.remove()


@pytest.fixture
def make_stack(base, request):
    """make_stack({"name": conninfo}, ...) -> a running Stack, stopped and removed after the test."""
    made = []

    def make(databases, start=True, **options):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p"
        stack = Stack(directory, databases, **options)
        made.append(stack)
        return stack.start() if start else stack

    yield make
    for stack in made:
        stack.remove()


@pytest.fixture(scope="module")
def stack(base, server):
    """A running pgseal with one small database `shop`, for tests that only look."""
    server.create("shop_small")
    server.sql("shop_small", "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item SELECT i, 'item '||i FROM generate_series(1, 1000) i")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p"
    s = Stack(directory, {"shop": server.conninfo("shop_small")}).start()
    yield s
    s.remove()
