"""Operators hold work back by the commands: durable over kill -9, told with who and why, and lost is nothing."""
import os
import re
import subprocess

from support.shell import BIN, wait_for


def test_held_back(make_stack, server):
    server.create("operations")
    server.sql("operations", "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i")
    conninfo = server.conninfo("operations")
    stack = make_stack({"shop": conninfo, "other": conninfo}, agents=("dump+drill",))
    assert "Nothing is held back" in stack.cli("holds").stdout
    stack.cli("pause", "--reason", "the storage is moved")
    stack.cli("cordon", "shop")
    refused = stack.cli("checkpoint", "shop", "--tag", "t", check=False)
    assert refused.returncode != 0 and "is cordoned by admin" in refused.stderr, refused.stderr
    waits = stack.request("other")
    stack.kill("coordinator")
    stack.start_coordinator()
    held = {(h["what"], h["name"]): h for h in stack.api("GET", "/api/v1/holds")[1]["holds"]}
    assert set(held) == {("fleet", ""), ("database", "shop")}, held
    assert held["fleet", ""]["reason"] == "the storage is moved" and held["fleet", ""]["by"] == "admin"
    wait_for("the agent", lambda: stack.api("GET", "/api/v1/agents")[1]["agents"][0]["live"], every=0.3)
    assert stack.api("GET", f"/api/v1/checkpoints/{waits}")[1]["state"] == "requested"
    stack.cli("drain", "dump-drill")
    assert "drained" in stack.cli("agents").stdout and "cordoned" in stack.cli("databases").stdout
    stack.cli("resume")
    stack.cli("undrain", "dump-drill")
    assert stack.wait_final(waits)["state"] == "sealed"
    stack.cli("uncordon", "shop")
    sealed = stack.seal("shop")
    assert sealed["restore_drill"] == "proven"
    kinds = [e["kind"] for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]]
    for kind in ("fleet.paused", "fleet.resumed", "agent.drained", "agent.undrained", "database.cordoned", "database.uncordoned"):
        assert kinds.count(kind) == 1, kinds

    # A drill that runs anew is what is canceled; a first one is the checkpoint's own.
    stack.cli("drain", "dump-drill")
    again = subprocess.Popen([BIN / "pgseal", "drill", sealed["id"]], env={**os.environ, "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token},
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for("the drill", lambda: len(stack.api("GET", f"/api/v1/checkpoints/{sealed['id']}")[1]["jobs"]) == 3, every=0.2)
    twice = stack.cli("drill", sealed["id"], check=False)
    assert twice.returncode == 4 and "waits for an agent already" in twice.stderr, twice.stderr
    said = stack.cli("cancel", sealed["id"]).stdout
    assert said.startswith("the drill of shop, tag ") and "stays sealed" in said, said
    out, err = again.communicate(timeout=60)
    assert again.returncode == 4 and "CANCELED" in out and "a drill of tag" in out, out + err
    assert re.search(r"drill +queued +waiting for ", err) and "leased" not in err, err
    assert "no drill of it runs" in stack.cli("cancel", sealed["id"], check=False).stderr
    waits = stack.cli("checkpoint", "other", "--tag", "t", "--no-wait").stdout.strip()
    assert stack.cli("cancel", waits).stdout.startswith("the checkpoint of other, tag t (")
    stack.cli("undrain", "dump-drill")
    stack.assert_clean()
