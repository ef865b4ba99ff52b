"""The report for the auditor: of a month with a failure in it, signed, as JSON, HTML and PDF, checked without the coordinator."""
import datetime
import json
import re

from support.stack import BIN
from support.shell import run


def month():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m")


def test_a_month_with_a_failure(make_stack, server, tmp_path):
    server.create("report")
    server.sql("report", "CREATE TABLE t AS SELECT i, repeat('x', 100) AS v FROM generate_series(1, 100) i")
    stack = make_stack({"shop": server.conninfo("report"), "idle": server.conninfo("report")}, start=False, signing_key="signing.key")
    run([BIN / "pgseal", "key", "generate", "--kind", "signing", "--out", stack.dir / "signing"])
    stack.start()
    begun = month()
    first = stack.seal("shop", "before <b>&")
    for segment in (stack.repository / first["prefix"]).glob("0*.zst.cms"):
        segment.chmod(0o600)
        segment.write_bytes(b"damaged" + segment.read_bytes()[7:])
    drilled = stack.cli("drill", first["id"], check=False)
    assert drilled.returncode == 1, drilled
    again = stack.seal("shop", "after")

    files = {kind: tmp_path / f"report.{kind}" for kind in ("json", "html", "pdf")}
    asked = ["report", "--month", begun] if begun == month() else ["report", "--from", f"{begun}-01", "--to", "2999-01-01"]
    stack.cli(*asked, *(word for kind, path in files.items() for word in (f"--{kind}", path)))
    report = json.loads(files["json"].read_text())["report"]
    assert report["totals"]["drills"] == {"proven": 2, "failed": 1, "errored": 0, "canceled": 0, "open": 0}, report["totals"]
    assert report["totals"]["coverage"]["unproven"] == 1 and report["totals"]["problems"] == {"resolved": 1, "unresolved": 0}
    failed = next(d for d in report["drills"] if d["outcome"] == "failed")
    assert failed["error"] == "segment_corrupt" and failed["next_proven"]["checkpoint"] == again["id"], failed
    proof = next(d for d in report["drills"] if d["checkpoint"] == again["id"])
    assert proof["proof_sha256"] == again["proof_sha256"] and proof["manifest_sha256"] == again["manifest_sha256"]
    chain = stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]
    assert next(e for e in chain if e["sequence"] == proof["event"]["sequence"])["hash"] == proof["event"]["hash"]

    page, pdf = files["html"].read_text(), files["pdf"].read_bytes()
    assert "segment_corrupt" in page and "<script" not in page and "://" not in page
    assert pdf.startswith(b"%PDF-") and len(re.findall(rb"/Type /Page\b", pdf)) >= 2
    assert "1 failed" in stack.cli(*asked).stdout

    # without the coordinator
    key = stack.dir / "signing.pub"
    verify = [BIN / "pgseal", "report", "verify"]
    assert "by the key that was given" in run([*verify, files["json"], "--key", key]).stdout
    assert "was not checked" in run([*verify, files["json"]]).stdout
    altered = files["json"].read_text().replace('"failed":1', '"failed":0')
    (tmp_path / "altered.json").write_text(altered)
    assert run([*verify, tmp_path / "altered.json", "--key", key], check=False).returncode == 1
    other = run([*verify, files["json"], "--key", stack.dir / "keys/agent-dump-drill.pub"], check=False)
    assert other.returncode == 1 and "altered, or is another" in other.stderr, other
