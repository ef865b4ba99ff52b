"""The ledger in PostgreSQL: the same product on it, with a server that goes away in between."""
import os

import pytest

from support.postgres import NATIVE, Server
from support.shell import BIN, run, wait_for


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
