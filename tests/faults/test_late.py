"""Results that come after their lease was given to another attempt: refused, whatever they say. And what is late by the
coordinator's own doing alone: it counts against nobody."""
import os
import signal
import time

import pytest

import judge
from support.shell import wait_for

DATA = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 2000) i"
# Restoring it takes a while: building the index sleeps.
SLOW = """;
    CREATE FUNCTION slowly(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.1); RETURN i; END';
    CREATE TABLE slow (id int); CREATE INDEX slow_index ON slow (slowly(id)); INSERT INTO slow SELECT generate_series(1, 20)"""
AGENTS = ("dump+drill", "drill+dump")  # two that can do both


@pytest.fixture
def late(server):
    server.create("late")
    server.sql("late", DATA)
    return {"shop": server.conninfo("late")}


def holder(stack, identity, kind):
    """Which agent has the job."""
    return wait_for(f"somebody to take the {kind}",
                    lambda: [j["agent"] for j in stack.show(identity)["jobs"] if j["kind"] == kind and j["agent"]])[-1]


def pause(stack, name):
    os.kill(stack.running[name].pid, signal.SIGSTOP)


def resume(stack, name):
    os.kill(stack.running[name].pid, signal.SIGCONT)


def requeued(stack, identity):
    return judge.ledger_kinds(stack, {"id": identity}).count("job.requeued")


def dumps_at_lock(server):
    return len(server.sql("late", "SELECT 1 FROM pg_locks WHERE NOT granted"))


def test_coordinator_stands_still(make_stack, late, server):
    """In mid-dump, for longer than a lease: the agent was there all the while, and its job goes on."""
    lease = 4
    stack = make_stack(late, lock_timeout_seconds=120, lease_seconds=lease)
    with server.locked("late", "t") as wait_for_dump:
        identity = stack.request("shop")
        wait_for_dump()
        pause(stack, "coordinator")
        time.sleep(lease + 2)
        resume(stack, "coordinator")
        wait_for("the coordinator to notice", lambda: "stood still" in stack.log("coordinator"))
    final = stack.wait_final(identity)
    assert final["state"] == "sealed", final["error"]
    assert [j["attempt"] for j in final["jobs"]] == [1, 1] and not requeued(stack, identity), final["jobs"]


def test_late_dump(make_stack, late, server):
    """An agent stands still while its job goes on; the job's result is told when the next attempt is at work."""
    # long enough a lease for the first attempt to end within what is left of it
    stack = make_stack(late, agents=AGENTS, lock_timeout_seconds=120, lease_seconds=10)
    with server.locked("late", "t") as wait_for_dump:
        identity = stack.request("shop")
        wait_for_dump()
        slow = holder(stack, identity, "dump")
        pause(stack, slow)
    # Its job ends, and nobody takes note; before its lease runs out, the table is locked again for the next attempt.
    first = stack.repository / stack.show(identity)["prefix"] / "manifest.json.cms"
    wait_for("the first attempt's manifest", first.exists, every=0.02)
    with server.locked("late", "t"):
        wait_for("the lease to run out", lambda: requeued(stack, identity))
        wait_for("the next attempt", lambda: dumps_at_lock(server))
        assert stack.show(identity)["prefix"].endswith("/attempt-2/")
        resume(stack, slow)
        wait_for("the late result", lambda: "a result came too late" in stack.log(slow) or "the lease of a job was lost" in stack.log(slow))
        shown = stack.show(identity)
        assert shown["state"] not in stack.FINAL and shown["manifest_sha256"] is None, shown
        assert "checkpoint.stored" not in judge.ledger_kinds(stack, shown)
    shown = judge.sealed(stack, stack.wait_final(identity))
    attempt = judge.attempts(shown, "dump")
    assert attempt >= 2 and shown["prefix"].endswith(f"/attempt-{attempt}/")
    assert judge.ledger_kinds(stack, shown).count("checkpoint.stored") == 1
    assert not list((stack.dir / f"agent-{slow}" / "spool").iterdir()), "a refused result is not kept"


def test_result_left_behind(make_stack, late, server):
    """An agent dies with a result that nobody took; it is back when another attempt has sealed."""
    stack = make_stack(late, agents=AGENTS, lock_timeout_seconds=120, lease_seconds=4)
    with server.locked("late", "t") as wait_for_dump:
        identity = stack.request("shop")
        wait_for_dump()
        slow = holder(stack, identity, "dump")
        stack.kill("coordinator")  # so that nobody takes the result
    spool = stack.dir / f"agent-{slow}" / "spool"
    wait_for("the dump's result", lambda: list(spool.glob("*.result")))
    kept = {path.name: path.read_bytes() for path in spool.glob("*.result")}
    for name in stack.agents:
        stack.kill(name)
    for name in kept:
        (spool / name).unlink()
    stack.start_coordinator()
    for name in stack.agents:  # the other one, too, may have had a job to clean up after
        stack.start_agent(name)
    shown = judge.sealed(stack, stack.wait_final(identity))
    before = shown["manifest_sha256"], shown["proof_sha256"], judge.ledger_kinds(stack, shown)
    stack.kill(slow)
    for name, data in kept.items():
        (spool / name).write_bytes(data)
    stack.start_agent(slow)
    wait_for("the late result", lambda: "a result came too late" in stack.log(slow))
    shown = judge.sealed(stack, stack.show(identity))
    assert (shown["manifest_sha256"], shown["proof_sha256"], judge.ledger_kinds(stack, shown)) == before
    assert not list(spool.iterdir())


def test_late_drill(make_stack, server):
    """The verdict of a drill whose lease was given away counts for nothing, even if it says proven."""
    server.create("later")
    server.sql("later", DATA + SLOW)
    stack = make_stack({"shop": server.conninfo("later")}, agents=("dump", "drill"), lease_seconds=4)
    identity = stack.request("shop")
    judge.wait_phase(stack, identity, "drill", ("restoring", "indexing"))
    pause(stack, "drill")
    proofs = stack.repository / stack.show(identity)["prefix"] / "proofs"
    ended = wait_for("its proof, or its lease's end", lambda: list(proofs.glob("*.cms")) or requeued(stack, identity))
    wait_for("the lease to run out", lambda: requeued(stack, identity) or stack.show(identity)["state"] in stack.FINAL)
    shown = stack.show(identity)
    assert ended and shown["state"] not in stack.FINAL, shown
    resume(stack, "drill")
    shown = judge.sealed(stack, stack.wait_final(identity))
    attempt = judge.attempts(shown, "drill")
    assert attempt >= 2
    # What is called its proof is that of the attempt that had the lease.
    proven = [e for e in stack.api("GET", f"/api/v1/ledger?checkpoint={identity}")[1]["events"] if e["kind"] == "drill.proven"]
    assert [e["detail"]["drill_id"].rpartition("-")[2] for e in proven] == [str(attempt)]
