"""kill -9 in the middle, and a restart: it ends sealed or honestly otherwise, and nothing is left."""
import contextlib
import os
import time

import pytest

import judge
from data import slow_to_restore
from support.shell import processes, wait_for


@pytest.fixture
def shop(server):
    server.create("alive")
    server.sql("alive", "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 150000) i")
    return {"shop": server.conninfo("alive")}


@pytest.fixture
def dawdling(server):
    """Its drill takes some seconds."""
    server.create("dawdling")
    server.sql("dawdling", slow_to_restore(4))
    return {"shop": server.conninfo("dawdling")}


def test_agent_killed_in_mid_dump(make_stack, shop, engine):
    stack = make_stack(shop, engine=engine, images={15: engine.image(15)}, segment_mb=1)
    identity = stack.request("shop")
    judge.wait_phase(stack, identity, "dump", ("dumping", "storing"))
    stack.kill("dump-drill")
    stack.start_agent("dump-drill")
    shown = stack.wait_final(identity)
    assert shown["state"] == "sealed", shown["error"]
    stack.assert_clean()


def test_agent_killed_in_mid_drill(make_stack, dawdling, engine):
    stack = make_stack(dawdling, engine=engine, images={15: engine.image(15)})
    identity = stack.request("shop")
    assert judge.wait_phase(stack, identity, "drill", ("restoring", "indexing"))
    stack.kill("dump-drill")
    stack.start_agent("dump-drill")
    shown = stack.wait_final(identity)
    assert shown["state"] == "sealed", shown["error"]
    stack.assert_clean()


def test_coordinator_killed_in_the_middle(make_stack, shop):
    stack = make_stack(shop)
    identity = stack.request("shop")
    judge.wait_phase(stack, identity, "dump", ("dumping", "storing"))
    stack.kill("coordinator")
    time.sleep(1)
    stack.start_coordinator()
    shown = stack.wait_final(identity)
    assert shown["state"] == "sealed", shown["error"]
    assert stack.api("GET", "/api/v1/ledger/verify")[1]["ok"] is True
    stack.assert_clean()


def test_job_child_killed(make_stack, dawdling):
    stack = make_stack(dawdling)
    identity = stack.request("shop")
    assert judge.wait_phase(stack, identity, "drill", ("restoring", "indexing"))
    children = [pid for pid, argv in processes() if "job" in argv and any(str(stack.dir) in a for a in argv)]
    assert children
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    shown = stack.wait_final(identity)
    assert shown["state"] == "sealed", shown["error"]
    stack.assert_clean()


def test_cancel(make_stack, shop, server):
    stack = make_stack(shop, lock_timeout_seconds=60)
    with server.locked("alive", "t") as wait_for_dump:
        identity = stack.request("shop")
        wait_for_dump()
        assert stack.api("POST", f"/api/v1/checkpoints/{identity}/cancel")[0] in (200, 202)
        assert stack.wait_final(identity)["state"] == "canceled"
        stack.assert_clean()


def test_client_that_goes_away_does_not_cancel(make_stack, shop):
    import socket, json
    stack = make_stack(shop)
    body = json.dumps({"database": "shop", "tag": "gone"}).encode()
    with socket.create_connection(("127.0.0.1", stack.http)) as s:
        s.sendall(b"POST /api/checkpoint HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + stack.token.encode() +
                  b"\r\nContent-Type: application/json\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
        identity = wait_for("the request", lambda: stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"])[0]["id"]
    assert stack.wait_final(identity)["state"] == "sealed"


def test_clean_stop(make_stack, shop, server):
    stack = make_stack(shop, lock_timeout_seconds=60)
    with server.locked("alive", "t") as wait_for_dump:
        identity = stack.request("shop")
        wait_for_dump()
        assert set(stack.stop().values()) == {0}, "every daemon stops cleanly in mid-flight"
        stack.assert_clean()
    stack.start()
    assert stack.wait_final(identity)["state"] == "sealed"
