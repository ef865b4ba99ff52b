"""Jobs over their budgets of time, memory and disk: ended, named, and nothing condemned by it."""
import pytest

import fleet
import judge
from data import slow_to_restore
from proxy import Proxy
from support.shell import processes, wait_for

ROWS = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, {}) i;"
# Restoring it takes so many bytes of memory at once.
HUNGRY = ROWS.format(100) + """
    CREATE FUNCTION hungry(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN length(repeat(md5(i::text), {} / 32)); END';
    CREATE TABLE meal (id int); CREATE INDEX meal_index ON meal (hungry(id)); INSERT INTO meal VALUES (1)"""


def dump_over_its_time(world):
    stack = world.stack(world.database("budget_a", ROWS.format(100)), timeout_seconds=4, lock_timeout_seconds=100)
    lock = world.locked("budget_a", "t")
    identity = stack.request("shop")
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "budget_exceeded", "dump", "budgets.timeout_seconds", "database shop")
    assert not world.server.sql("budget_a", "SELECT 1 FROM pg_locks WHERE NOT granted"), "nobody waits for the lock any more"
    lock.close()


def with_timeout(stack, seconds):
    stack.kill("coordinator", 15)
    stack.options["timeout_seconds"] = seconds
    stack.write_coordinator()
    stack.start_coordinator()


def drill_over_its_time(world):
    # Time enough for the dump; the drill has less.
    stack = world.stack(world.database("budget_b", slow_to_restore(12)), start=False, agents=("dump", "drill"), agent_wait_seconds=120)
    stack.start_coordinator()
    stack.start_agent("dump")
    identity = stack.request("shop")
    wait_for("the dump", lambda: stack.show(identity)["manifest_sha256"])
    with_timeout(stack, 4)
    stack.start_agent("drill")
    yield
    shown = judge.expect(stack, stack.wait_final(identity), "errored", "budget_exceeded", "budgets.timeout_seconds")
    assert shown["manifest_sha256"], "it is stored all the same, and a later drill may seal it"
    assert judge.attempts(shown, "drill") == 1, "what took too long once is not tried again"
    # With more time, it does.
    with_timeout(stack, 900)
    assert stack.cli("drill", identity).returncode == 0
    judge.sealed(stack, stack.show(identity))


def drill_over_its_time_in_a_container(world):
    stack = world.stack(world.database("budget_c", slow_to_restore(20)), engine=world.engine, images={15: world.engine.image(15)},
                        timeout_seconds=6)
    identity = stack.request("shop")
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "budget_exceeded", "budgets.timeout_seconds")


def drill_over_its_memory(world):
    """The kernel kills the server, or the server says that it got no more: the remedy is the same."""
    stack = world.stack(world.database("budget_d", HUNGRY.format(400_000_000)), engine=world.engine,
                        images={15: world.engine.image(15)}, memory_mb=256)
    identity = stack.request("shop")
    yield
    shown = judge.expect(stack, stack.wait_final(identity), "errored", "cluster_lost", "memory", "drill.memory_mb", "pgseal/postgres:15")
    assert shown["manifest_sha256"], "it is stored all the same, and a later drill may seal it"


def drill_over_its_disk(world):
    """PGDATA on a tmpfs of its own."""
    stack = world.stack(world.database("budget_e", ROWS.format(400_000)), engine=world.engine,
                        images={15: world.engine.image(15)}, drill={"tmpfs_mb": 64})
    identity = stack.request("shop")
    yield
    shown = judge.expect(stack, stack.wait_final(identity), "errored", "budget_exceeded", "No space left", "drill.tmpfs_mb")
    assert shown["manifest_sha256"], "it is stored all the same, and a later drill may seal it"


def cluster_over_its_disk_when_made(world):
    stack = world.stack(world.database("budget_f", ROWS.format(100)), engine=world.engine,
                        images={15: world.engine.image(15)}, drill={"tmpfs_mb": 16})
    identity = stack.request("shop")
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "budget_exceeded", "No space left", "drill.tmpfs_mb")


def count_stands_still(world):
    """The server falls silent while rows are counted."""
    server = world.server
    databases = world.database("budget_g", ROWS.format(400_000))
    proxy = world.kept.enter_context(Proxy(str(server.dir / ".s.PGSQL.5432")))
    stack = world.stack({"shop": f"host=127.0.0.1 port={proxy.port} user=postgres dbname=budget_g sslmode=disable gssencmode=disable"},
                        timeout_seconds=10)
    assert databases
    identity = stack.request("shop")
    judge.wait_phase(stack, identity, "dump", ("dumping", "storing"))
    proxy.stall()
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "budget_exceeded", "budgets.timeout_seconds")
    assert not [argv for _, argv in processes() if "pg_dump" in argv[:1] and "budget_g" in argv]


SCENARIOS = {f.__name__: f for f in (
    dump_over_its_time, drill_over_its_time, drill_over_its_time_in_a_container, drill_over_its_memory, drill_over_its_disk,
    cluster_over_its_disk_when_made, count_stands_still)}
LONG = ("drill_over_its_time_in_a_container", "cluster_over_its_disk_when_made", "count_stands_still")


@pytest.fixture(scope="module")
def begun(base, server, engine, request):
    with fleet.scenarios(base, server, request, SCENARIOS, engine) as scenarios:
        yield scenarios


@pytest.mark.parametrize("what", [pytest.param(w, marks=pytest.mark.long) if w in LONG else w for w in SCENARIOS])
def test_over_budget(begun, what):
    begun[what].finish()
