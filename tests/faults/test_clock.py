"""The clock is set, by an hour or by a day, under a coordinator or an agent at work (libfaketime: the wall clock only)."""
import datetime
import glob
import re

import pytest

import judge
import test_hostile
from support.shell import wait_for

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
DATA = """
    CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
    CREATE FUNCTION slowly(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.1); RETURN i; END';
    CREATE TABLE slow (id int); CREATE INDEX slow_index ON slow (slowly(id)); INSERT INTO slow SELECT generate_series(1, 10)"""
JUMPS = {"an hour ahead": 3600, "an hour back": -3600, "a day ahead": 86400, "ten minutes back": -600}


class Clock:
    """A wall clock that can be set while whoever is started with `wrap` runs."""

    def __init__(self, directory):
        library, = glob.glob(LIBRARY)
        self.file = directory / "clock"
        self.set(0)
        self.wrap = ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={self.file}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]

    def set(self, offset):
        part = self.file.with_suffix(".new")
        part.write_text(f"{offset:+d}\n")
        part.rename(self.file)


@pytest.fixture(scope="module")
def shop(server):
    server.create("timely")
    server.sql("timely", DATA)
    return {"shop": server.conninfo("timely")}


QUICK = [("coordinator", "an hour back"), ("agent", "a day ahead")]


@pytest.mark.parametrize("whose, jump", [pytest.param(w, j, marks=[] if (w, j) in QUICK else pytest.mark.long)
                                         for w in ("coordinator", "agent") for j in JUMPS])
def test_clock_is_set(make_stack, shop, server, tmp_path, whose, jump):
    """In mid-dump, and back in mid-drill: no lease runs out by it, no backoff lasts for ever, nothing is done twice."""
    clock = Clock(tmp_path)
    stack = make_stack(shop, lock_timeout_seconds=60, timeout_seconds=120, lease_seconds=15, **{f"wrap_{whose}": clock.wrap})
    with server.locked("timely", "t") as wait_for_dump:
        identity = stack.request("shop")
        wait_for_dump()
        clock.set(JUMPS[jump])
        queued = stack.request("shop", "queued")
    judge.wait_phase(stack, identity, "drill", ("indexing", "dumping"))
    clock.set(0)
    for one in (identity, queued):
        shown = stack.wait_final(one)
        assert shown["state"] == "sealed", shown["error"]
        assert [j["attempt"] for j in shown["jobs"]] == [1, 1], shown["jobs"]
        assert 0 < shown["seconds"] < 300, shown["seconds"]
    assert was_off(stack.log("coordinator" if whose == "coordinator" else "dump-drill"), JUMPS[jump])
    # The next one as if nothing had been.
    judge.sealed(stack, judge.ask(stack))


def was_off(log, seconds):
    """Whether any line says so: else the clock was never set, and nothing was tested."""
    now = datetime.datetime.now(datetime.timezone.utc)
    times = [datetime.datetime.fromisoformat(t) for t in re.findall(r"^(\d{4}-\S+Z) ", log, re.M)]
    return any(abs((time - now).total_seconds() - seconds) < abs(seconds) / 4 for time in times)


def test_clock_is_set_back_while_a_retry_waits(make_stack, server, tmp_path):
    """A backoff's end is a time of day: set back by a day, it must not wait for a day."""
    clock = Clock(tmp_path)
    server.create("retried")
    server.sql("retried", "CREATE TABLE t (id int)")
    stack = make_stack({"shop": server.conninfo("retried")}, lock_timeout_seconds=1, wrap_coordinator=clock.wrap)
    with server.locked("retried", "t"):
        identity = stack.request("shop")
        wait_for("the first retry", lambda: "job.requeued" in judge.ledger_kinds(stack, {"id": identity}), every=0.02)
        clock.set(-86400)
    judge.sealed(stack, stack.wait_final(identity))


def test_agents_expired_by_a_wrong_clock(make_stack, shop, tmp_path):
    """A hundred days ahead for a moment, in which somebody is revoked: set back, all is as before, but for him."""
    clock = Clock(tmp_path)
    stack = make_stack(shop, join=True, wrap_coordinator=clock.wrap)
    stack.agents["other"] = ["dump"]
    stack.joins("other")
    later = stack.invite("later", ["dump"])

    def agents():
        return {a["name"]: a["state"] for a in stack.api("GET", "/api/v1/agents")[1]["agents"]}

    working = [n for n in agents() if n not in ("other", "later")]
    assert all(agents()[n] == "enrolled" for n in [*working, "other"])
    clock.set(100 * 86400)
    wait_for("everybody to expire", lambda: set(agents().values()) == {"expired"})
    stack.cli("agent", "revoke", "other")
    clock.set(0)
    expected = {**{n: "enrolled" for n in working}, "other": "revoked", "later": "invited"}
    wait_for("everybody to be back", lambda: agents() == expected)
    judge.sealed(stack, judge.ask(stack))
    assert stack.enroll("later", later).returncode == 0
    authority = stack.dir / "joined-other/keys/ca.crt"
    assert test_hostile.greet(stack, authority, stack.dir / "joined-later/keys/tls.pem")[:4] == b"\0SP\0"
    with pytest.raises(OSError):
        assert test_hostile.greet(stack, authority, stack.dir / "joined-other/keys/tls.pem"), "closed without a word"
        raise AssertionError("let in")


def test_the_bus_certificate_runs_out(make_stack, tmp_path):
    """It is made for 825 days, and nothing renews it: whoever reads the log knows in time."""
    clock = Clock(tmp_path)
    stack = make_stack({"shop": "dbname=unused"}, agents=(), join=True, wrap_coordinator=clock.wrap)
    assert "certificate expires soon" not in stack.log("coordinator")
    stack.kill("coordinator")
    clock.set(800 * 86400)
    stack.start_coordinator()
    assert 'msg="the bus\'s certificate expires soon; make a new one: pgseal-coordinator certificate"' in stack.log("coordinator")
