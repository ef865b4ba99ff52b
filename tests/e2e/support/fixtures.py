"""Fixtures: servers and the container engine once per run, a pgseal stack per test. A pytest plugin; tests/e2e/run loads it."""
import os
import pathlib
import shutil
import tempfile

import pytest

from support import s3 as s3_server
from support.engine import Engine
from support.postgres import NATIVE, Server
from support.shell import run
from support.stack import Stack

LONG = bool(os.environ.get("PGSEAL_LONG"))


# What takes longest is begun first, so that the workers end together (pytest --durations=0): parts of test ids.
LONGEST = ("test_bucket.py", "test_api_examples.py", "test_pages.py", "test_clock_is_set", "test_rich_schema[17]", "test_copy_altered", "test_queued_at_once",
           "test_bucket_damage.py", "test_random_kills", "test_roles.py", "test_repository.py", "test_certificates_rotate", "test_connections.py",
           "test_s3.py", "test_revoked_at_once", "test_a_byte_a_second", "test_ten_thousand", "test_agent_killed", "test_disks.py",
           "test_source.py", "test_budgets.py", "test_late.py", "test_kills.py", "test_two_coordinators", "test_exact_under_write_load")


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items):
    """Tests marked long belong to `make test-long`: they are not collected otherwise. Tests go to whichever worker is free,
    but for those that share what is made once for their module, or the S3 server: a module of these goes to one worker."""
    if not LONG:
        items[:] = [i for i in items if not i.get_closest_marker("long")]
    for item in items:
        shared = [d for definitions in item._fixtureinfo.name2fixturedefs.values() for d in definitions if d.scope == "module"]
        if shared or "s3" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    first = {}  # of what goes to one worker, the place of the longest
    for item in items:
        place = next((i for i, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST))
        first[unit(item)] = min(place, first.get(unit(item), place))
    items.sort(key=lambda item: first[unit(item)])


def unit(item):
    """What goes to one worker: a test, or all of its group."""
    group = item.get_closest_marker("xdist_group")
    return group.args[0] if group else item.nodeid


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
    apart = os.environ.get("PGSEAL_TESTS_APART")
    if apart:  # in memory; seen by these tests alone (tests/e2e/run)
        run(["mount", "-t", "tmpfs", "-o", "size=3g", "pgseal-tests", path])
    path.chmod(0o755)
    yield path
    if apart:
        run(["umount", "-l", path])
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def engine(base):
    e = Engine(base / "engine").start()
    yield e
    e.stop()


@pytest.fixture(scope="session")
def s3():
    """An S3 server, with and without TLS; on a disk, which it writes to past the kernel's cache."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="pgs3.", dir="/tmp"))
    path.chmod(0o755)
    s = s3_server.Server(path / "s3").start()
    yield s
    s.stop()
    shutil.rmtree(path, ignore_errors=True)


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
