"""Connections cut and stalled: a database's in mid-dump, the bus between coordinator and agent."""
import contextlib
import os
import time

import pytest

import judge
from data import slow_to_restore
from proxy import Proxy
from support.postgres import NATIVE, Server
from support.shell import wait_for

DATA = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 40000) i"  # 10 MB


@pytest.fixture(scope="module")
def full(server):
    server.create("far")
    server.sql("far", DATA)
    return server


@contextlib.contextmanager
def database_behind(server):
    with Proxy(str(server.dir / ".s.PGSQL.5432")) as proxy:
        yield proxy, {"shop": f"host=127.0.0.1 port={proxy.port} user=postgres dbname=far sslmode=disable gssencmode=disable"}


@pytest.mark.parametrize("after", [3_000_000, pytest.param(1_000, marks=pytest.mark.long), pytest.param(20_000, marks=pytest.mark.long),
                                   pytest.param(9_900_000, marks=pytest.mark.long)])
def test_database_cut_once(make_stack, full, after):
    """In mid-dump, after so many bytes; then it is there again: the next attempt seals."""
    with database_behind(full) as (proxy, databases):
        stack = make_stack(databases)
        proxy.cut_after(after)
        shown = judge.sealed(stack, judge.ask(stack))
        assert proxy.cuts and judge.attempts(shown, "dump") == 2


def test_database_cut_for_good(make_stack, full):
    with database_behind(full) as (proxy, databases):
        stack = make_stack(databases, lock_timeout_seconds=60)
        with full.locked("far", "t") as wait_for_dump:
            identity = stack.request("shop")
            wait_for_dump()
            proxy.refuse()
            shown = stack.wait_final(identity)
        judge.expect(stack, shown, "errored", ("database_lost", "database_unreachable"), "server")
        assert judge.attempts(shown, "dump") == 3


def test_database_stalls(make_stack, full):
    """Nobody says a word any more: the budget ends it."""
    with database_behind(full) as (proxy, databases):
        stack = make_stack(databases, timeout_seconds=10, lock_timeout_seconds=60)
        with full.locked("far", "t") as wait_for_dump:
            identity = stack.request("shop")
            wait_for_dump()
            proxy.stall()
        judge.expect(stack, stack.wait_final(identity), "errored", "budget_exceeded", "timeout_seconds")


def test_database_slow(make_stack, full):
    with database_behind(full) as (proxy, databases):
        proxy.delay = 0.01
        judge.sealed(stack := make_stack(databases), judge.ask(stack))


@pytest.mark.parametrize("returns", [True, pytest.param(False, marks=pytest.mark.long)])
def test_server_gone_in_mid_dump(make_stack, base, returns):
    """pg_ctl stop -m immediate; later it is there again, or not."""
    source = Server(NATIVE, base / "gone").start()
    try:
        source.create("far")
        source.sql("far", DATA)
        stack = make_stack({"shop": source.conninfo("far")}, lock_timeout_seconds=60)
        with source.locked("far", "t") as wait_for_dump:
            identity = stack.request("shop")
            wait_for_dump()
            os.kill(int((source.dir / "data/postmaster.pid").read_text().split()[0]), 3)
            source.process.wait(30)
        if returns:
            source.stop()
            source.start()
            judge.sealed(stack, stack.wait_final(identity))
        else:
            judge.expect(stack, stack.wait_final(identity), "errored", ("database_lost", "database_unreachable"), "server")
    finally:
        source.remove()


# ---- the bus ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def agents_behind(make_stack, databases, **options):
    with Proxy() as proxy:
        stack = make_stack(databases, start=False, bus=proxy.port, **options)
        # The agent dials the proxy, the coordinator listens where it always does.
        proxy.upstream = ("127.0.0.1", stack.bus)
        yield proxy, stack.start()


@pytest.fixture
def steady(server):
    """A dump stands still in it for as long as one likes, by a lock."""
    server.create("steady")
    server.sql("steady", DATA)
    return {"shop": server.conninfo("steady")}


@pytest.fixture
def dawdling(server):
    """Its drill takes some seconds."""
    server.create("dawdling")
    server.sql("dawdling", slow_to_restore(4))
    return {"shop": server.conninfo("dawdling")}


@pytest.mark.parametrize("phase", ["dump", "drill"])
def test_bus_cut(make_stack, steady, dawdling, server, phase):
    """Again and again, for as long as the job runs; the lease is renewed in between, so nothing is done twice."""
    databases = steady if phase == "dump" else dawdling
    with agents_behind(make_stack, databases, lock_timeout_seconds=60, lease_seconds=15) as (proxy, stack):
        with server.locked("steady", "t") if phase == "dump" else contextlib.nullcontext() as wait_for_dump:
            identity = stack.request("shop")
            if wait_for_dump:
                wait_for_dump()
            else:
                assert judge.wait_phase(stack, identity, "drill", ("restoring", "indexing"))
            for _ in range(5):
                proxy.cut()
                time.sleep(0.3)
        shown = judge.sealed(stack, stack.wait_final(identity))
        assert [j["attempt"] for j in shown["jobs"]] == [1, 1]


def test_bus_cut_for_shorter_than_the_lease(make_stack, steady, server):
    with agents_behind(make_stack, steady, lock_timeout_seconds=60, lease_seconds=15) as (proxy, stack):
        with server.locked("steady", "t") as wait_for_dump:
            identity = stack.request("shop")
            wait_for_dump()
            proxy.refuse()
            time.sleep(3)
            proxy.heal()
        shown = judge.sealed(stack, stack.wait_final(identity))
        assert [j["attempt"] for j in shown["jobs"]] == [1, 1]


@pytest.mark.parametrize("fault", ["stall", pytest.param("refuse", marks=pytest.mark.long)])
def test_bus_gone_for_longer_than_the_lease(make_stack, steady, server, fault):
    """The job is given away; the lost attempt's result, if it comes, is refused; the next one seals."""
    with agents_behind(make_stack, steady, lock_timeout_seconds=60, lease_seconds=5) as (proxy, stack):
        with server.locked("steady", "t") as wait_for_dump:
            identity = stack.request("shop")
            wait_for_dump()
            getattr(proxy, fault)()
            wait_for("the lease to run out", lambda: "job.requeued" in judge.ledger_kinds(stack, {"id": identity}))
        if fault == "stall":
            proxy.cut()  # whoever waits on a dead connection learns of it by and by; here at once
        proxy.heal()
        shown = judge.sealed(stack, stack.wait_final(identity))
        assert judge.attempts(shown, "dump") >= 2


def test_bus_gone_while_the_result_is_due(make_stack, steady, server):
    """The agent keeps its result until somebody takes it."""
    with agents_behind(make_stack, steady, agents=("dump", "drill"), lock_timeout_seconds=60, lease_seconds=60) as (proxy, stack):
        with server.locked("steady", "t") as wait_for_dump:
            identity = stack.request("shop")
            wait_for_dump()
            proxy.refuse()
        spool = stack.dir / "agent-dump" / "spool"
        wait_for("the dump's result", lambda: list(spool.glob("*.result")))
        stack.kill("dump")
        proxy.heal()
        stack.start_agent("dump")
        shown = judge.sealed(stack, stack.wait_final(identity))
        assert judge.attempts(shown, "dump") == 1 and not list(spool.iterdir())


@pytest.mark.long
def test_bus_stalls_and_nobody_is_told(make_stack, steady, server):
    """A cable pulled, and put back after the lease ran out, without any connection being cut."""
    with agents_behind(make_stack, steady, lock_timeout_seconds=60, lease_seconds=3) as (proxy, stack):
        with server.locked("steady", "t") as wait_for_dump:
            identity = stack.request("shop")
            wait_for_dump()
            proxy.stall()
            time.sleep(8)
            proxy.heal()
        judge.sealed(stack, stack.wait_final(identity))
