"""The ledger in PostgreSQL: the same product on it, with a server that goes away in between; two coordinators, one killed."""
import concurrent.futures
import copy
import json
import os
import urllib.error

import pytest

from support.postgres import NATIVE, Server
from support.shell import BIN, free_port, run, wait_for


@pytest.fixture
def ledger_server(base):
    s = Server(NATIVE, base / f"ledger-{os.urandom(3).hex()}").start()
    yield s
    s.remove()


def small(server, name):
    server.create(name)
    server.sql(name, "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item SELECT i, 'item '||i FROM generate_series(1, 1000) i")
    return server.conninfo(name)


def test_ledger_in_postgresql(make_stack, server, ledger_server):
    ledger_server.create("pgseal")
    stack = make_stack({"prod-api": small(server, "ledgered")}, ledger=ledger_server.conninfo("pgseal"))
    sealed = stack.seal("prod-api", "before")
    ledger_server.stop(kill=True)
    wait_for("the coordinator to miss it", lambda: not stack.ready())  # a backend outlives its postmaster for a moment
    status, body, headers = stack.api("GET", "/api/v1/checkpoints")
    assert status == 503 and body["error"]["code"] == "unavailable", (status, body)
    assert "postgresql://" in body["error"]["message"] and body["error"]["remedy"]
    status, body, _ = stack.api("POST", "/api/checkpoint", {"database": "prod-api", "tag": "meanwhile", "wait": False},
                                headers={"Idempotency-Key": "k"})
    assert status == 503, (status, body)
    assert not stack.ready()
    ledger_server.start()
    wait_for("the ledger to be back", stack.ready)
    status, body, _ = stack.api("POST", "/api/checkpoint", {"database": "prod-api", "tag": "meanwhile"}, headers={"Idempotency-Key": "k"})
    assert status == 200 and body["ok"], (status, body)
    assert [c["tag"] for c in stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"]] == ["meanwhile", "before"]
    assert stack.show(sealed["id"])["state"] == "sealed"
    verified = run([BIN / "pgseal-coordinator", "ledger", "verify", "--config", stack.dir / "coordinator.yaml"]).stdout
    assert "chain intact" in verified and "postgresql://" in verified
    # All of it, into a file.
    export = run([BIN / "pgseal-coordinator", "ledger", "export", "--config", stack.dir / "coordinator.yaml"]).stdout
    config = json.loads((stack.dir / "coordinator.yaml").read_text())
    (stack.dir / "file.yaml").write_text(json.dumps({**config, "ledger": "file.db"}))
    (stack.dir / "export").write_text(export)
    with open(stack.dir / "export") as lines:
        imported = run([BIN / "pgseal-coordinator", "ledger", "import", "--config", stack.dir / "file.yaml"], stdin=lines).stdout
    assert "chain intact" in imported and f"{len(export.splitlines()) - 2} rows" in imported


def second_coordinator(stack, bus):
    """Another one on the same ledger, agents and token; returns the stack as its users see it."""
    other = copy.copy(stack)
    other.http, other.bus = free_port(), bus
    other.url = f"http://127.0.0.1:{other.http}"
    config = json.loads((stack.dir / "coordinator.yaml").read_text())
    config.update(http=f"127.0.0.1:{other.http}", bus=f"tcp://127.0.0.1:{bus}")
    (stack.dir / "second.yaml").write_text(json.dumps(config))
    stack._spawn("second", [BIN / "pgseal-coordinator", "--config", stack.dir / "second.yaml"])
    wait_for("the second coordinator", lambda: stack._alive("second") and other.ready())
    return other


def events(stack, kind, **wanted):
    found = [e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"] == kind]
    return [e for e in found if all(e.get(k) == v for k, v in wanted.items())]


def live(stack):
    return sorted(a["name"] for a in stack.api("GET", "/api/v1/agents")[1]["agents"] if a["live"])


def ask(stack, tag):
    """The one blocking request, as a pipeline makes it; None if the coordinator was lost meanwhile."""
    try:
        return stack.api("POST", "/api/checkpoint", {"database": "prod-api", "tag": tag}, headers={"Idempotency-Key": tag}, timeout=60)
    except (urllib.error.URLError, OSError):
        return None


def test_two_coordinators_one_killed(make_stack, server, ledger_server):
    ledger_server.create("pgseal")
    source = small(server, "two_ledgered")
    server.sql("two_ledgered", "CREATE TABLE pace AS SELECT 0 AS seconds")
    stack = make_stack({"prod-api": source}, start=False, ledger=ledger_server.conninfo("pgseal"), agents=("dump", "drill"), lease_seconds=4,
                       assertions=[{"name": "takes a while", "sql": "SELECT pg_sleep(seconds) IS NOT NULL FROM pace"}])
    bus = free_port()
    stack.options["buses"] = [stack.bus, bus]
    for name in stack.agents:
        stack.write_agent(name)
    stack.start()
    other = second_coordinator(stack, bus)
    wait_for("it to hear of the first one's agents", lambda: live(other) == ["drill", "dump"])
    assert "this coordinator leads" in stack.log("coordinator") and "this coordinator leads" not in stack.log("second")

    # Asked for at the one, while the agents are the other's.
    status, body, _ = ask(other, "asked-at-the-second")
    assert status == 200 and body["ok"], (status, json.dumps(body))

    # Killed in the middle; the same request again, at the other.
    server.sql("two_ledgered", "UPDATE pace SET seconds = 6")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(ask, stack, "in-the-middle")
        wait_for("the drill", lambda: any((j.get("progress") or {}).get("phase") == "asserting"
                                          for a in other.api("GET", "/api/v1/agents")[1]["agents"] for j in a["jobs"]))
        stack.kill("coordinator")
        assert first.result() is None
    status, body, _ = ask(other, "in-the-middle")
    assert status == 200 and body["ok"], (status, json.dumps(body), stack.log("second")[-3000:])
    final = other.show(body["id"])
    assert final["state"] == "sealed" and [j["attempt"] for j in final["jobs"]] == [1, 1], final
    assert len(events(other, "checkpoint.requested")) == 2 and len(events(other, "job.leased", checkpoint_id=body["id"])) == 2
    wait_for("the second to lead", lambda: "this coordinator leads" in stack.log("second"))
    assert "chain intact" in run([BIN / "pgseal-coordinator", "ledger", "verify", "--config", stack.dir / "second.yaml"]).stdout
