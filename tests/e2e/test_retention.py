"""Retention on a bucket that keeps versions and locks: what a policy does not keep goes, by an agent whose key is under exactly
deploy/policies/prune.json; what is pinned, newest or locked stays, and restores."""
import signal

from support.shell import wait_for
from test_doctor_bucket import LOCK, versions

PREFIX = "team/prod"
FEW = "policies:\n  - name: few\n    match: {names: ['*']}\n    retention: {last: 1, grace_hours: 1}\n"


def kinds(stack, identity):
    return [e["kind"] for e in stack.api("GET", f"/api/v1/ledger?checkpoint={identity}&limit=100")[1]["events"]]


def view(stack, database):
    return {c["id"]: c for c in stack.api("GET", f"/api/v1/databases/{database}/retention")[1]["checkpoints"]}


def left(bucket, identity):
    """Every version and every mark of it."""
    return [key for kind in versions(bucket) for key, _ in kind if f"/{identity}/" in key]


def test_what_is_not_kept_goes(make_stack, server, s3, bucket):
    server.create("retention")
    server.sql("retention", "CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i")
    held = s3.bucket(bucket.name + "-l", LOCK)
    conninfo = server.conninfo("retention")
    stack = make_stack({"shop": conninfo, "locked": conninfo}, agents=("dump+drill", "prune"), s3=held, s3_options={"prefix": PREFIX},
                       each={"locked": {"lock": {"mode": "governance", "days": 1}}}, slots={"dump": 4, "drill": 4})
    held.write_keys(stack.dir / "keys/prune-bucket", s3.role(f"pruner-{bucket.name}", "prune", held.name, PREFIX))
    config = {"repository": {"s3": held.config("keys/prune-bucket", prefix=PREFIX)}}
    stack.write_agent("prune", **config, keys={}, databases=[])
    asked = [stack.request(d, f"{d}-{i}") for d, n in (("shop", 3), ("locked", 2)) for i in range(n)]
    sealed = [stack.wait_final(i) for i in asked]
    assert {c["state"] for c in sealed} == {"sealed"}, sealed
    shop, locked = [[c["id"] for c in sealed if c["database"] == d] for d in ("shop", "locked")]
    assert "all of it is" in stack.cli("retention", "shop").stderr
    stack.cli("pin", "shop-0", "--reason", "the audit")

    # nobody prunes yet: that is said, and nothing is marked
    stack.kill("prune")
    stack.kill("coordinator", signal.SIGTERM)  # it would take the agent for one that is there, for a while
    stack.start_coordinator()
    fleet = stack.dir / "fleet.yaml"
    fleet.write_text(FEW)
    stack.cli("apply", "-f", fleet)
    refused = stack.cli("prune", "shop", check=False)
    assert refused.returncode != 0 and "no agent that can prune" in refused.stderr, refused.stderr
    shown = view(stack, "shop")
    assert {i: shown[i]["fate"] for i in shop} == {shop[0]: "keep", shop[1]: "prune", shop[2]: "keep"}, shown
    assert shown[shop[0]]["rules"] == ["pinned"] and set(shown[shop[2]]["rules"]) == {"last", "last sealed"}
    assert "Nobody prunes 2 databases" in stack.cli("status").stdout
    assert "No agent that prunes shop is there" in stack.cli("prune", "shop", "--dry-run").stderr

    # there is one: it happens by itself, or at once when asked
    stack.start_agent("prune")
    wait_for("the pruner", lambda: stack.api("GET", "/api/v1/databases/shop/retention")[1]["prune_agent"], every=0.3)
    assert "Nobody prunes" not in stack.cli("status").stdout
    for database in ("shop", "locked"):
        stack.cli("prune", database)
    wait_for("the prune", lambda: "checkpoint.pruned" in kinds(stack, shop[1]), every=0.3)
    wait_for("locks to be found", lambda: "checkpoint.locked" in kinds(stack, locked[0]), every=0.3)
    assert left(held, shop[1]) == []
    assert all(len(left(held, i)) >= 5 for i in (shop[0], shop[2], *locked)), versions(held)
    assert {i: c["fate"] for i, c in view(stack, "locked").items()} == dict.fromkeys(locked, "keep")
    assert view(stack, "locked")[locked[0]]["rules"] == ["locked"]

    # what is gone is given to nobody; the rest is as good as it was
    status, body, _ = stack.api("POST", f"/api/v1/checkpoints/{shop[1]}/drills")
    assert status == 409 and "was pruned" in body["error"]["message"], body
    status, body, _ = stack.api("POST", "/api/v1/plans", {"database": "shop", "checkpoint": shop[1]})
    assert status == 409 and "was pruned" in body["error"]["message"], body
    assert stack.api("GET", f"/api/v1/checkpoints/{shop[1]}")[1]["state"] == "sealed"
    assert stack.cli("drill", locked[0]).returncode == 0
    assert stack.cli("ledger", "verify").returncode == 0
    stack.assert_clean()
