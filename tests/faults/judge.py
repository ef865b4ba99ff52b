"""The verdict on a run with a fault in it, by what a user can see: the API, the CLI, the ledger, the repository, the machine."""
import json
import subprocess

from support.shell import wait_for


def proofs(stack, shown):
    """Every proof of a checkpoint, opened with stock tools and a recipient's key."""
    keys = stack.dir / "keys"
    for name, path in stack.objects(shown).items():
        if name.startswith("proofs/") and name.endswith(".cms"):
            opened = subprocess.run(
                ["bash", "-c", 'set -o pipefail; openssl cms -decrypt -inform DER -binary -in "$1" -inkey "$2" -recip "$3" | zstd -dc',
                 "-", path, keys / "escrow.key", keys / "escrow.crt"], check=True, capture_output=True)
            yield json.loads(opened.stdout)


def ledger_kinds(stack, shown):
    status, body, _ = stack.api("GET", f"/api/v1/ledger?checkpoint={shown['id']}")
    assert status == 200, body
    return [e["kind"] for e in body["events"]]


def unsealed(stack, shown):
    """Nowhere is it called sealed, or proven."""
    assert shown["state"] != "sealed" and shown["ok"] is False, shown
    assert shown["restore_drill"] != "proven", shown
    assert not [k for k in ledger_kinds(stack, shown) if k.endswith((".sealed", ".proven"))], ledger_kinds(stack, shown)
    assert not [p for p in proofs(stack, shown) if p["outcome"] == "proven"]
    listed = {c["id"]: c for c in stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"]}
    assert listed[shown["id"]]["state"] == shown["state"]


def intact(stack):
    """The ledger's chain holds, and nothing outlived its job."""
    assert stack.api("GET", "/api/v1/ledger/verify")[1]["ok"] is True
    stack.assert_clean()


def expect(stack, shown, state, codes, *mentions):
    """It ended as `state`, on one of `codes`, and the error says each of `mentions` somewhere."""
    codes = (codes,) if isinstance(codes, str) else codes
    error = shown["error"]
    assert (shown["state"], error and error["code"]) in [(state, code) for code in codes], (shown["state"], error)
    assert error["message"] and error["remedy"], error
    said = " ".join(str(error.get(k) or "") for k in ("message", "object", "remedy"))
    for mention in mentions:
        assert mention in said, (mention, error)
    unsealed(stack, shown)
    if state == "failed" and any(k == "drill.failed" for k in ledger_kinds(stack, shown)):
        assert [p["outcome"] for p in proofs(stack, shown)] == ["failed"], "a condemning drill leaves its signed reasons"
    intact(stack)
    return shown


def sealed(stack, shown):
    assert shown["state"] == "sealed" and shown["restore_drill"] == "proven", (shown["state"], shown["error"])
    assert "proven" in [p["outcome"] for p in proofs(stack, shown)]
    intact(stack)
    return shown


def ask(stack, database="shop", timeout=150):
    """One blocking request; what GET says of it afterwards."""
    status, body = stack.checkpoint(database, timeout=timeout)
    shown = stack.show(body["id"])
    assert (status == 200) == (shown["state"] == "sealed") and body["ok"] is shown["ok"], (status, body)
    return shown


def attempts(shown, kind):
    """The last attempt's number of the newest job of a kind."""
    return [j["attempt"] for j in shown["jobs"] if j["kind"] == kind][-1]


def wait_phase(stack, identity, kind, phases):
    """Until a job of that kind is in one of the phases, or it is all over. Whether it was seen in one of them."""
    def look():
        shown = stack.show(identity)
        now = [j["progress"].get("phase") for j in shown["jobs"] if j["kind"] == kind and j["progress"]]
        return set(now) & set(phases) or (stack.FINAL if shown["state"] in stack.FINAL else None)
    return wait_for(f"{kind} in {phases}", look, every=0.05) is not stack.FINAL
