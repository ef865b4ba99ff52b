"""The report for the auditor: of a month with a failure in it, signed, as JSON, HTML and PDF, checked without the coordinator."""
import contextlib
import datetime
import email
import email.policy
import hashlib
import json
import re
import signal
import sqlite3

import pytest

from support.mail import Mail, MailServer
from support.shell import free_port, run, wait_for
from support.stack import BIN
from test_ledger import ledger_server, second_coordinator  # noqa: F401 (a fixture)


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
    stack.cli("alert", "silence", "--database", "shop", "--for", "2h", "--reason", "known <b>damage</b>")

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

    silence = report["silences"][0]
    assert [silence[k] for k in ("database", "reason", "acknowledged")] == ["shop", "known <b>damage</b>", False] and silence["by"], silence
    said = next(e for e in chain if e["kind"] == "alert.silenced")
    assert (silence["event"], silence["silence"]) == ({k: said[k] for k in ("sequence", "hash")}, said["detail"]["silence"])

    page, pdf = files["html"].read_text(), files["pdf"].read_bytes()
    assert "segment_corrupt" in page and "<td>known &lt;b&gt;damage&lt;/b&gt;</td>" in page and "<script" not in page and "://" not in page
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


def reports_of(port):
    """By mail: of the fleet each month, of a team each week, the latter without attachments."""
    return {"signing_key": "signing.key",
            "alerts": {"link": "https://pgseal.example.com/", "routes": [
                {"name": "auditors", "type": "email", "url": f"smtp://127.0.0.1:{port}", "unencrypted": True,
                 "from": "pgseal@example.com", "to": ["audit@example.com"]}]},
            "reports": [{"name": "monthly", "to": "auditors"},
                        {"name": "team", "to": "auditors", "period": "week", "databases": ["shop"], "attach_megabytes": 0},
                        {"name": "nobody", "to": "auditors", "owner": "team-gone"}]}


def parts(message):
    """Of a mail: its text, and what is attached by name."""
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    attached = {p.get_filename(): p.get_payload(decode=True) for p in parsed.iter_attachments()}
    return parsed, parsed.get_body().get_content(), attached


def last_slot():
    """The last time that monthly was due."""
    now = datetime.datetime.now(datetime.timezone.utc)
    slot = now.replace(day=1, hour=6, minute=0, second=0, microsecond=0)
    return slot if slot <= now else (slot - datetime.timedelta(days=7)).replace(day=1)


def test_by_mail(make_stack):
    """Missed while nobody ran, then nobody there to take it, then killed: it arrives once, and is what was signed."""
    port = free_port()
    stack = make_stack({"shop": "dbname=nowhere"}, agents=(), start=False, **reports_of(port))
    run([BIN / "pgseal", "key", "generate", "--kind", "signing", "--out", stack.dir / "signing"])
    stack.start_coordinator()
    assert [r["name"] for r in stack.api("GET", "/api/v1/reports/plans")[1]["reports"]] == ["monthly", "team", "nobody"]
    with contextlib.closing(sqlite3.connect(stack.dir / "ledger.db")) as ledger:
        marks = "FROM counter WHERE name LIKE 'report/%'"
        wait_for("the schedules' begin", lambda: ledger.execute(f"SELECT count(*) {marks}").fetchone()[0] == 3, every=0.2)
        stack.kill("coordinator")
        due = int(last_slot().timestamp()) * 1_000_000
        with ledger:
            assert ledger.execute("UPDATE counter SET value = ? WHERE name LIKE 'report/monthly/%'", (due - 1,)).rowcount == 1
    stack.start_coordinator()

    def waiting():
        return next(r for r in stack.api("GET", "/api/v1/alerts")[1]["routes"] if r["name"] == "auditors")
    wait_for("an attempt", lambda: waiting()["waiting"] == 1 and waiting()["error"], every=0.2)
    stack.kill("coordinator")
    mail = Mail(port)
    stack.start_coordinator()
    wait_for("the report", lambda: mail.got and not waiting()["waiting"], every=0.2)
    stack.kill("coordinator")
    stack.start_coordinator()
    parsed, text, attached = parts(mail.got[0])
    period = (last_slot() - datetime.timedelta(days=7)).strftime("%Y-%m")
    assert text.startswith("The database has no proof at all.\n"), text
    assert "The database has no proof at all" in parsed["Subject"] and parsed["To"] == "audit@example.com"
    assert set(attached) == {f"pgseal-monthly-{period}.{kind}" for kind in ("json", "pdf", "html")}, attached.keys()
    document = attached[f"pgseal-monthly-{period}.json"]
    assert attached[f"pgseal-monthly-{period}.pdf"].startswith(b"%PDF-") and b"<h1>" in attached[f"pgseal-monthly-{period}.html"]
    (stack.dir / "got.json").write_bytes(document)
    run([BIN / "pgseal", "report", "verify", stack.dir / "got.json", "--key", stack.dir / "signing.pub"])
    assert json.loads(document)["report"]["to_us"] == int(last_slot().replace(hour=0).timestamp()) * 1_000_000

    # now, by hand: too large for its plan; too large for the server; of nobody
    sent = stack.cli("report", "send", "team", "--week", "2026-W40").stdout
    assert re.fullmatch(r"The receiver of auditors has report team, message \w{26}: it answered 2\d\d after [\d.]+ m?s\.\n", sent), sent
    _, text, attached = parts(mail.got[1])
    assert not attached and "pgseal report --week 2026-W40 --database shop --json pgseal-team-2026-W40.json" in text, text
    mail.most = 20000
    assert stack.cli("report", "send", "monthly").returncode == 0
    _, text, attached = parts(mail.got[2])
    assert not attached and "the receiver took no message as large as that" in text and text.startswith("The database has no proof at all."), text
    stack.cli("report", "send", "nobody")
    assert parts(mail.got[3])[1].startswith("There is no report: no database has this owner."), parts(mail.got[3])[1]
    none = stack.cli("report", "send", "other", check=False)
    assert none.returncode != 0 and "there is no report other" in none.stderr, none.stderr
    sent = [e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"].startswith("report.")]
    assert [(e["kind"], e["detail"]["report"]) for e in sent] == [("report.sent", r) for r in ("monthly", "team", "monthly", "nobody")], sent
    assert sent[0]["detail"]["sha256"] == hashlib.sha256(document).hexdigest()
    assert len(mail.got) == 4
    mail.shutdown()


@pytest.mark.long
@pytest.mark.parametrize("noticed", (True, False), ids=("noticed", "unnoticed"))
def test_the_next_leader_mails_it(make_stack, ledger_server, noticed):
    """Two coordinators on one ledger: the one that leads is killed when a report is due, after it has tried in vain to send it or
    before it has seen that it is. It arrives once, and not again when the first leads anew."""
    name = "mailed_" + ("noticed" if noticed else "unnoticed")
    ledger_server.create(name)
    port = free_port()
    stack = make_stack({"shop": "dbname=nowhere"}, agents=(), start=False, ledger=ledger_server.conninfo(name), **reports_of(port))
    run([BIN / "pgseal", "key", "generate", "--kind", "signing", "--out", stack.dir / "signing"])
    server = MailServer(port, stack.dir / "box")

    def waiting(at):
        return next(r for r in at.api("GET", "/api/v1/alerts")[1]["routes"] if r["name"] == "auditors")

    def is_due():
        ledger_server.sql(name, f"UPDATE counter SET value = {int(last_slot().timestamp()) * 1_000_000 - 1} WHERE name LIKE 'report/monthly/%'")

    def leads(log):
        return stack.log(log).count("this coordinator leads")
    try:
        stack.start_coordinator()
        marks = "SELECT count(*) FROM counter WHERE name LIKE 'report/%'"
        wait_for("the schedules' begin", lambda: int(ledger_server.sql(name, marks)[0][0]) == 3, every=0.2)
        if noticed:
            stack.kill("coordinator")
            is_due()
            stack.start_coordinator()
            wait_for("an attempt", lambda: waiting(stack)["waiting"] == 1 and waiting(stack)["error"], timeout=60, every=0.2)
        before = leads("coordinator")
        other = second_coordinator(stack, free_port())
        assert not leads("second")
        if noticed:
            stack.kill("coordinator")
            server.start()
        else:
            server.start()
            stack.running["coordinator"].send_signal(signal.SIGSTOP)
            is_due()
            stack.running.pop("coordinator").kill()
        wait_for("the report", lambda: server.got() and not waiting(other)["waiting"], timeout=90, every=0.2)
        assert leads("second") == 1
        stack.start_coordinator()
        stack.kill("second")
        wait_for("the first to lead again", lambda: leads("coordinator") > before and not waiting(stack)["waiting"], timeout=60, every=0.2)
        sent = [e["kind"] for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"].startswith("report.")]
        got = server.got()
        assert len(got) == 1 and sent == ["report.sent"], (len(got), sent)
        (stack.dir / "got.json").write_bytes(next(a for n, a in parts(got[0])[2].items() if n.endswith(".json")))
        run([BIN / "pgseal", "report", "verify", stack.dir / "got.json", "--key", stack.dir / "signing.pub"])
    finally:
        server.stop()
