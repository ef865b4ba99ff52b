"""Coordinator and agents on hosts of their own, over mutual TLS. One agent is cut off in some phase of its job: the job
moves to another, the late result is refused, and nothing is left on either host."""
import pathlib
import tempfile

import pytest

import judge
from hosts import Network, Spread
from support.shell import wait_for

AGENTS = ("dump+drill", "drill+dump")  # two that can do both
LEASE = 4
DATA = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 2000) i"
# A restore of it takes a while: building the index sleeps.
SLOW = """;
    CREATE FUNCTION slowly(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.1); RETURN i; END';
    CREATE TABLE slow (id int); CREATE INDEX slow_index ON slow (slowly(id)); INSERT INTO slow SELECT generate_series(1, 30)"""
PHASES = (("dump", "begun"), ("dump", "stored"), ("drill", "preparing"), ("drill", "restoring"), ("drill", "told"))


@pytest.fixture
def spread(base, server, request):
    network = Network()
    server.create("spread")
    server.sql("spread", DATA + (SLOW if request.node.get_closest_marker("long") else ""))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p"
    stack = Spread(directory, {"shop": server.conninfo("spread")}, network, agents=AGENTS, lease_seconds=LEASE, lock_timeout_seconds=120)
    yield stack.start()
    stack.remove()
    network.remove()
    server.sql("postgres", "DROP DATABASE spread WITH (FORCE)")


def holder(stack, identity, kind):
    return wait_for(f"somebody to take the {kind}",
                    lambda: [j["agent"] for j in stack.show(identity)["jobs"] if j["kind"] == kind and j["agent"]])[-1]


def requeued(stack, identity):
    return judge.ledger_kinds(stack, {"id": identity}).count("job.requeued")


def cut_in(stack, server, identity, kind, phase):
    """Returns who was cut off, in that phase of its job."""
    if kind == "dump":
        agent = holder(stack, identity, "dump")
        if phase == "stored":  # in the repository; the coordinator may have been told just now, or not
            first = stack.repository / stack.show(identity)["prefix"] / "manifest.json.cms"
            wait_for("the manifest", first.exists, every=0.01)
        stack.cut(agent)
    elif phase == "told":  # its proof is stored, and its verdict may just have been told, or not
        agent = holder(stack, identity, "drill")
        judge.wait_phase(stack, identity, "drill", ("restoring", "indexing"))
        proofs = stack.repository / stack.show(identity)["prefix"] / "proofs"
        wait_for("the proof", lambda: list(proofs.glob("*.cms")), every=0.02)
        stack.cut(agent)
    else:
        agent = holder(stack, identity, "drill")
        if phase == "restoring":
            judge.wait_phase(stack, identity, "drill", ("restoring", "indexing"))
        stack.cut(agent)
    return agent


def ends_well(stack, identity, agent):
    """It seals by whom is left, and stays what it is when the other comes back."""
    shown = stack.wait_final(identity)
    assert shown["state"] == "sealed", shown["error"]
    before = shown["manifest_sha256"], shown["proof_sha256"]
    stack.mend(agent)
    spool = stack.dir / f"agent-{agent}" / "spool"
    wait_for("the other to be heard of again", lambda: {a["name"]: a["live"] for a in stack.api("GET", "/api/v1/agents")[1]["agents"]}[agent])
    wait_for("its results to be answered", lambda: not list(spool.iterdir()))
    shown = stack.show(identity)
    judge.sealed(stack, shown)
    assert (shown["manifest_sha256"], shown["proof_sha256"]) == before
    assert judge.ledger_kinds(stack, shown).count("checkpoint.stored") == 1
    assert judge.ledger_kinds(stack, shown).count("checkpoint.sealed") == 1
    return shown


def test_cut_off_in_mid_dump(spread, server):
    """Its job goes on where nobody hears of it; by the time it is back, another has done it."""
    with server.locked("spread", "t") as wait_for_dump:
        identity = spread.request("shop")
        wait_for_dump()
        agent = holder(spread, identity, "dump")
        spread.cut(agent)
        wait_for("the lease to run out", lambda: requeued(spread, identity))
    ends_well(spread, identity, agent)
    assert "a result came too late" in spread.log(agent) or "the lease of a job was lost" in spread.log(agent)


@pytest.mark.long
@pytest.mark.parametrize("kind, phase", PHASES, ids=lambda word: word)
def test_cut_off_in(spread, server, kind, phase):
    identity = spread.request("shop")
    agent = cut_in(spread, server, identity, kind, phase)
    ends_well(spread, identity, agent)


@pytest.mark.long
def test_cut_off_and_back_before_anybody_minds(spread, server):
    """For less than a lease: no job moves."""
    with server.locked("spread", "t") as wait_for_dump:
        identity = spread.request("shop")
        wait_for_dump()
        agent = holder(spread, identity, "dump")
        spread.cut(agent)
        wait_for("a second of it", lambda: True, timeout=1)
        spread.mend(agent)
    assert spread.wait_final(identity)["state"] == "sealed"


@pytest.mark.long
def test_all_are_cut_off(spread, server):
    """The coordinator is alone for longer than a lease; nothing is lost, and the next one seals."""
    with server.locked("spread", "t") as wait_for_dump:
        identity = spread.request("shop")
        wait_for_dump()
        for agent in spread.agents:
            spread.cut(agent)
        wait_for("the lease to run out", lambda: requeued(spread, identity))
        for agent in spread.agents:
            spread.mend(agent)
    judge.sealed(spread, spread.wait_final(identity))
    again = spread.request("shop", "afterwards")  # all are as good as before
    judge.sealed(spread, spread.wait_final(again))
