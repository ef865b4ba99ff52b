"""Rotation: an older checkpoint is drilled again by itself, and a real canary is refuted; neither changes what it should not."""
from support.shell import wait_for

POLICY = """policies:
  - name: all
    match: {names: ['*']}
    rotation: {proof_age: 5s, kinds: [old, canary]}
rotation: {slots: 1}
"""


def events(stack, **wanted):
    found = stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]
    return [e for e in found if all(e[k] == v for k, v in wanted.items())]


def test_old_ones_and_canaries(make_stack, server):
    server.create("rotation")
    server.sql("rotation", "CREATE TABLE t AS SELECT i, 'row ' || i AS text FROM generate_series(1, 1000) i")
    stack = make_stack({"shop": server.conninfo("rotation")}, agents=("dump+drill",))
    old, new = (stack.wait_final(stack.request("shop", tag)) for tag in ("first", "second"))
    assert {old["state"], new["state"]} == {"sealed"}
    before = stack.api("GET", f"/api/v1/checkpoints/{new['id']}")[1]
    fleet = stack.dir / "fleet.yaml"
    fleet.write_text(POLICY)
    stack.cli("apply", "-f", fleet)

    asked = wait_for("a drill of the older one", lambda: events(stack, kind="drill.requested", actor="rotation"), every=0.4)[0]
    assert asked["checkpoint_id"] == old["id"], asked
    wait_for("its proof", lambda: events(stack, kind="drill.proven", job_id=asked["job_id"]), every=0.4)
    trial = wait_for("a canary", lambda: events(stack, kind="trial.finished"), every=0.4)[0]
    assert (trial["detail"]["kind"], trial["detail"]["verdict"]) == ("canary", "refuted"), trial
    assert trial["checkpoint_id"] == new["id"]
    report = stack.api("GET", f"/api/v1/jobs/{trial['job_id']}")[1]["report"]
    assert report["damage"] and report["found"]["code"], report

    # the canary changed nothing of its checkpoint; the drill made the other's proof anew
    after = stack.api("GET", f"/api/v1/checkpoints/{new['id']}")[1]
    assert after == before
    again = stack.api("GET", f"/api/v1/checkpoints/{old['id']}")[1]
    assert again["state"] == "sealed" and again["proof_sha256"] != old["proof_sha256"]
    assert not events(stack, kind="rotation.canary_survived")

    shown = wait_for("a forecast", lambda: (r := stack.api("GET", "/api/v1/rotation")[1])["forecast"] and r, every=0.4)
    assert shown["items"] == 2 and shown["budget"]["slots"] == 1, shown
    said = stack.cli("rotation").stdout
    assert "budget: 1 slot" in said and "forecast: " in said, said
