"""The coordinator's disk is lost: a new ledger out of the repository alone, by agents that still have their keys."""
import json
import shutil
import sqlite3

import pytest

from support.shell import BIN, run


@pytest.fixture
def stack(make_stack, server):
    for name in ("api", "bad"):
        server.create(f"rebuilt_{name}")
        server.sql(f"rebuilt_{name}", "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item SELECT i, 'item '||i FROM generate_series(1, 100) i")
    return make_stack({"api": server.conninfo("rebuilt_api"), "bad": server.conninfo("rebuilt_bad")}, agents=("dump", "drill"),
                      each={"bad": {"assertions": [{"name": "never", "sql": "SELECT false"}]}})


def lose(stack, **changes):
    """All that the coordinator had but its configuration, which is in everybody's git."""
    stack.kill("coordinator")
    for path in stack.dir.glob("ledger.db*"):
        path.unlink()
    config = json.loads((stack.dir / "coordinator.yaml").read_text())
    (stack.dir / "coordinator.yaml").write_text(json.dumps({**config, **changes}))
    stack.start_coordinator()


def rebuild(stack, *argv):
    done = stack.cli("ledger", "rebuild", "--json", *argv, check=False)
    report = json.loads(done.stdout)
    counts = {}
    for job in report["jobs"]:
        assert job["state"] == "done" and job["kind"] == "inventory" and job["checkpoint"] is None, job
        for name, count in job["report"]["counts"].items():
            counts[name] = counts.get(name, 0) + count
    refused = [item for job in report["jobs"] for item in job["report"]["refused"]]
    return done.returncode, {k: v for k, v in counts.items() if v}, refused, report


def facts(checkpoint):
    return {k: checkpoint[k] for k in ("id", "database", "tag", "state", "size_bytes", "tables", "rows", "restore_drill", "prefix")}


def ledger(stack, verb, **kw):
    return run([BIN / "pgseal-coordinator", "ledger", verb, "--config", stack.dir / "coordinator.yaml"], **kw)


def altered(stack, sql):
    """The ledger's file as somebody who can write to it would have it."""
    for path in stack.dir.glob("ledger.db*"):
        if path.suffix != ".lock":
            shutil.copy(path, stack.dir / path.name.replace("ledger", "altered"))
    with sqlite3.connect(stack.dir / "altered.db") as db:
        db.execute(sql)
    config = json.loads((stack.dir / "coordinator.yaml").read_text())
    (stack.dir / "altered.yaml").write_text(json.dumps({**config, "ledger": "altered.db"}))
    return run([BIN / "pgseal-coordinator", "ledger", "verify", "--config", stack.dir / "altered.yaml"], check=False)


def test_a_lost_coordinator(stack):
    three = stack.request("bad", "three")
    first, second = stack.seal("api", "one"), stack.seal("api", "two")
    failed = stack.wait_final(three)
    stack.cli("drill", second["id"])
    assert failed["state"] == "failed" and failed["error"]["code"] == "assertion_failed", failed
    assert "2 sealed checkpoints: 2 by verdicts whose signatures verify\n" in ledger(stack, "verify").stdout
    assert "name: drill, public_key: '" in ledger(stack, "keys").stdout
    forged = altered(stack, "UPDATE checkpoint SET state = 'sealed', proof_sha256 = manifest_sha256 WHERE tag = 'three'")
    assert forged.returncode == 1 and failed["id"] in forged.stderr, forged
    forged = altered(stack, "UPDATE checkpoint SET manifest_sha256 = proof_sha256 WHERE tag = 'one'")
    assert forged.returncode == 1 and first["id"] in forged.stderr and "not signed" in forged.stderr, forged
    objects = stack.objects(second)
    manifest = objects["manifest.json.cms"].read_bytes()
    objects["manifest.json.cms"].write_bytes(manifest[:-20] + bytes([manifest[-20] ^ 1]) + manifest[-19:])
    (stack.repository / "api/stray").write_text("nobody's")
    # The drill agent's machine went with it; it comes again with another key.
    stack.cli("key", "generate", "--kind", "signing", "--out", stack.dir / "keys/new-drill")
    agents = json.loads((stack.dir / "coordinator.yaml").read_text())["agents"]
    stack.kill("drill")
    config = json.loads((stack.dir / "drill.yaml").read_text())
    (stack.dir / "drill.yaml").write_text(json.dumps({**config, "agent": {**config["agent"], "signing_key": "keys/new-drill.key"}}))
    lose(stack, agents=[{**a, "public_key": "keys/new-drill.pub"} if a["name"] == "drill" else a for a in agents])
    stack.start_agent("drill")
    # Seen, and nothing written.
    code, counts, refused, report = rebuild(stack, "--dry-run")
    assert code == 1 and counts == {"checkpoints": 3, "unproven": 2, "checkpoints_refused": 1, "refused": 3, "strays": 1}, counts
    assert report["jobs"][0]["report"]["lost"] and stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"] == []
    # Nobody vouches for who proved it: stored, but not sealed.
    code, counts, refused, report = rebuild(stack)
    assert code == 1 and counts == {"checkpoints": 3, "unproven": 2, "checkpoints_refused": 1, "refused": 3, "strays": 1}, counts
    assert sorted(item["reason"] for item in refused) == ["not_readable", "unknown_key", "unknown_key"], refused
    assert stack.show(first["id"])["state"] == "errored" and stack.api("GET", f"/api/v1/checkpoints/{second['id']}")[0] == 404
    # Somebody does.
    unknown = report["jobs"][0]["report"]["unknown_keys"][0]
    assert unknown["agent"] == "drill" and len(unknown["public_key"]) == 64
    stack.kill("coordinator")
    config = json.loads((stack.dir / "coordinator.yaml").read_text())
    former = [{"name": "drill", "public_key": unknown["public_key"], "capabilities": ["drill"]}]
    (stack.dir / "coordinator.yaml").write_text(json.dumps({**config, "former_agents": former}))
    stack.start_coordinator()
    code, counts, refused, _ = rebuild(stack)
    assert code == 1 and counts == {"checkpoints": 3, "proven": 1, "failed": 1, "proofs": 2, "checkpoints_refused": 1, "refused": 1, "strays": 1}, counts
    assert facts(stack.show(first["id"])) == facts(first) and facts(stack.show(failed["id"])) == facts(failed)
    # And what was altered is put back.
    objects["manifest.json.cms"].write_bytes(manifest)
    code, counts, refused, _ = rebuild(stack)
    assert code == 0 and counts == {"checkpoints": 3, "known": 2, "proven": 1, "proofs": 2, "strays": 1} and not refused, counts
    again = stack.show(second["id"])
    assert facts(again) == facts(second)
    # The first proof sealed it, not the one that was made later; what its dump took is not known any more.
    assert second["created_at"] < again["finished_at"] <= second["finished_at"] and 0 < again["seconds"] <= second["seconds"] + 0.1, (second, again)
    metrics = run(["curl", "-sS", "-H", f"Authorization: Bearer {stack.token}", f"{stack.url}/metrics"]).stdout
    assert 'drill_duration_seconds{database="api"}' in metrics and 'dump_duration_seconds{database="api"}' not in metrics
    shown = stack.cli("ledger", "rebuild", "api").stdout
    assert "2 in the repository, 2 known" in shown and "api/stray" in shown and "tokens" in shown, shown
    # It is as good as it was.
    assert sorted(d["state"] for d in stack.api("GET", "/api/v1/drills")[1]["drills"]) == ["done", "done", "done", "failed"]
    keys = stack.dir / "keys"
    verified = stack.cli("verify", "two", "--database", "api", "--repository", stack.repository, "--key", keys / "drill.key", "--certificate",
                         keys / "drill.crt", "--drill-public-key", keys / "agent-drill.pub").stdout
    assert "VERIFIED" in verified, verified
    stack.cli("drill", second["id"])
    assert stack.show(second["id"])["state"] == "sealed"
    kinds = [e["kind"] for e in json.loads(stack.cli("ledger", "--json").stdout)["events"]]
    assert kinds.count("checkpoint.rebuilt") == 5 and "checkpoint.sealed" not in kinds, kinds
    assert "2 sealed checkpoints: 1 by verdicts whose signatures verify; 1 rebuilt" in ledger(stack, "verify").stdout
