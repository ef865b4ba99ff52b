"""Alerts: to receivers that are away at first, over a coordinator that is killed in between, exactly once."""
import base64
import email
import hashlib
import hmac
import http.server
import json
import re
import subprocess
import sys
import threading
import time

import pytest

from support.certificates import Certificates
from support.mail import Mail
from support.shell import BIN, free_port, run, wait_for
from test_ledger import ledger_server, second_coordinator  # noqa: F401 (a fixture)

BY = ("hook", "chat", "team", "pager", "mail")  # whom the tests tell, besides the watchdog
KEY = "a-key-of-the-test-0123456789"


class Hook:
    """A receiver of HTTP; not there until start()."""

    def __init__(self):
        self.port, self.got, self.server = free_port(), [], None

    def start(self):
        got = self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                got.append((self.path, dict(self.headers), self.rfile.read(int(self.headers.get("Content-Length", 0)))))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def at(self, path):
        return [g for g in self.got if g[0] == path]

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


def route(stack, name):
    return next(r for r in stack.api("GET", "/api/v1/alerts")[1]["routes"] if r["name"] == name)


def signed(headers, body):
    text = headers["X-Pgseal-Timestamp"].encode() + b"." + body
    assert abs(int(headers["X-Pgseal-Timestamp"]) - time.time()) < 60
    return hmac.compare_digest(headers["X-Pgseal-Signature"], "v1=" + hmac.new(KEY.encode(), text, hashlib.sha256).hexdigest())


def alerts_of(hook, mail, alive=None):
    return {"group_seconds": 0, "errored_times": 1, "default": ["hook", "chat", "team", "pager", "mail"], "link": "https://pgseal.example.com/", "routes": [
        {"name": "hook", "type": "webhook", "url": hook.url("/hook"), "key_file": "hook.key"},
        {"name": "chat", "type": "slack", "url_file": "chat.url"},
        {"name": "team", "type": "teams", "url_file": "team.url"},
        {"name": "pager", "type": "pagerduty", "url": hook.url("/pager"), "key_file": "hook.key"},
        {"name": "mail", "type": "email", "url": f"smtp://127.0.0.1:{mail}", "unencrypted": True,
         "from": "pgseal@example.com", "to": ["dba@example.com"]},
        {"name": "watchdog", "type": "ping", "url": (alive or hook).url("/alive"), "every_seconds": 1}]}


def test_once_and_signed(make_stack):
    hook, alive, port = Hook(), Hook(), free_port()
    stack = make_stack({"shop": "dbname=nowhere"}, agents=(), agent_wait_seconds=1, alerts=alerts_of(hook, port, alive), start=False)
    (stack.dir / "hook.key").write_text(KEY + "\n")
    (stack.dir / "chat.url").write_text(hook.url("/T0KEN") + "\n")
    (stack.dir / "team.url").write_text(hook.url("/t3am") + "\n")
    (stack.dir / "chat.url").chmod(0o644)
    (stack.dir / "hook.key").chmod(0o600)
    checked = run([BIN / "pgseal-coordinator", "check", "--config", stack.dir / "coordinator.yaml"])
    assert "chat.url has mode 0644" in checked.stderr and "hook.key" not in checked.stderr and "6 alert routes" in checked.stdout
    (stack.dir / "chat.url").rename(stack.dir / "elsewhere")
    checked = run([BIN / "pgseal-coordinator", "check", "--config", stack.dir / "coordinator.yaml"], check=False)
    assert checked.returncode == 1 and "alerts: route chat: " in checked.stderr
    (stack.dir / "elsewhere").rename(stack.dir / "chat.url")
    stack.start_coordinator()
    checkpoint = stack.request("shop", "nightly")
    away = stack.cli("alert", "test", "hook", check=False)
    assert away.returncode == 4 and re.search(r"did not get there by route hook: Couldn't connect to server \(after [\d.]+ m?s\)", away.stderr), away.stderr
    assert "the last test: Couldn't connect" in stack.cli("alert", "list").stdout
    # Of these there is none that takes messages: the default ones are told.
    (stack.dir / "fleet.yaml").write_text("policies: [{name: p, match: {names: [shop]}, alerts: [nobody, watchdog]}]\n")
    applied = stack.cli("apply", "-f", stack.dir / "fleet.yaml")
    assert "the alert route nobody, which coordinator.yaml does not have" in applied.stdout + applied.stderr
    assert "watchdog is a ping" in applied.stdout + applied.stderr
    wait_for("an attempt by each", lambda: all(route(stack, r)["error"] and route(stack, r)["waiting"] == 1 for r in BY), every=0.2)
    shown = stack.api("GET", "/api/v1/alerts")[1]
    assert [(a["condition"], a["subject"], a["state"]) for a in shown["alerts"]] == [("checkpoint_errored", "shop", "firing")]
    assert shown["alerts"][0]["routes"] == list(BY) and shown["counts"]["firing"] == 1
    quiet = stack.cli("alert", "silence", "checkpoint_errored/shop", "--for", "2h", "--reason", "known").stdout
    assert quiet.startswith("checkpoint_errored/shop: nobody is told until "), quiet
    assert "firing, silenced" in stack.cli("alert", "list").stdout
    assert stack.api("GET", "/api/v1/overview")[1]["databases"][0]["silenced"]["reason"] == "known"
    assert "checkpoint_errored/shop" in stack.cli("alert", "silences").stdout
    assert stack.cli("alert", "unsilence", re.search(r"unsilence (\w+)", quiet).group(1)).returncode == 0
    assert stack.cli("alert", "silences").stdout == "Nothing is silenced.\n"
    assert stack.cli("alert", "silence", "--database", "shop", "--for", "soon", "--reason", "x", check=False).returncode == 2
    kinds = [e["kind"] for e in stack.api("GET", "/api/v1/ledger?database=shop&limit=50")[1]["events"]]
    assert "alert.silenced" in kinds and "alert.silence_ended" in kinds, kinds
    # The watchdog's receiver was away: it is pinged as soon as it is back, by the same coordinator.
    assert route(stack, "watchdog")["error"].startswith("Couldn't connect") and not route(stack, "watchdog")["sent_at"]
    alive.start()
    wait_for("the watchdog", lambda: alive.at("/alive") and route(stack, "watchdog")["sent_at"] and not route(stack, "watchdog")["error"], every=0.2)
    assert "a ping did not get there" in stack.log("coordinator")
    stack.kill("coordinator")
    hook.start()
    mail = Mail(port)
    stack.start_coordinator()
    wait_for("all messages", lambda: not any(route(stack, r)["waiting"] for r in BY), every=0.2)
    assert [len(hook.at(path)) for path in ("/hook", "/T0KEN", "/t3am", "/pager")] == [1, 1, 1, 1] and len(mail.got) == 1
    card = json.loads(hook.at("/t3am")[0][2])["attachments"][0]["content"]
    assert "shop: 1 checkpoint in a row" in json.dumps(card) and card["type"] == "AdaptiveCard"
    paged = json.loads(hook.at("/pager")[0][2])
    assert paged["payload"]["class"] == "checkpoint_errored" and paged["dedup_key"].startswith("pgseal/checkpoint_errored/")
    _, headers, body = hook.at("/hook")[0]
    told = json.loads(body)
    assert signed(headers, body) and headers["X-Pgseal-Delivery"] == told["id"]
    assert not signed(headers, body + b" ")
    assert [(a["event"], a["condition"], a["database"]) for a in told["alerts"]] == [("fired", "checkpoint_errored", "shop")]
    assert "no_agent" in told["alerts"][0]["summary"] and told["link"] == "https://pgseal.example.com/"
    tested = stack.cli("alert", "test", "pager").stdout
    assert re.fullmatch(r"The receiver of pager has the test, message \w{26}: it answered 202 after [\d.]+ m?s\.\n", tested), tested
    assert route(stack, "pager")["sent_at"], "a test shows that it works, too"
    page = json.loads(hook.at("/pager")[1][2])
    assert page["routing_key"] == KEY and page["event_action"] == "trigger"
    text = base64.b64decode(email.message_from_bytes(mail.got[0]).get_payload()).decode()
    assert len(mail.got) == 1 and "fired (warning, checkpoint_errored" in text and "shop: 1 checkpoint in a row" in text
    assert stack.kill("coordinator", 15) == 0
    assert [len(hook.at(path)) for path in ("/hook", "/T0KEN", "/t3am", "/pager")] == [1, 1, 1, 2] and len(mail.got) == 1
    for secret in (KEY, "T0KEN"):
        assert secret not in stack.log("coordinator") + json.dumps(shown), secret
        assert secret.encode() not in b"".join(p.read_bytes() for p in stack.dir.glob("ledger.db*"))
    assert checkpoint in stack.log("coordinator")


ODD = ("line\nbreak", 'quo"te\'\\', "<img src=x onerror=alert(1)>", "\u00fcn\u00ef \u2028")


def test_tables(make_stack, server):
    """What the coordinator knows of each table, and what of it changed since the checkpoint before."""
    server.create("alerts_tables")
    quoted = ['"' + name.replace('"', '""') + '"' for name in ODD]
    server.sql("alerts_tables", "CREATE TABLE orders AS SELECT i, 'order '||i AS name FROM generate_series(1, 20000) i; CREATE TABLE gone (a int);"
               "CREATE SCHEMA s; CREATE TABLE s.kept AS SELECT 1 AS a; CREATE TABLE s.grown AS SELECT 1 AS a;"
               + "".join(f"CREATE TABLE {name} AS SELECT 1 AS a;" for name in quoted))
    stack = make_stack({"shop": server.conninfo("alerts_tables")}, agents=("dump+drill",))
    first = stack.seal("shop", "before")
    tables = stack.api("GET", f"/api/v1/checkpoints/{first['id']}/tables")[1]
    assert tables["previous"] is None and tables["changes"] is None and tables["listed"] == first["tables"] == 8
    assert [(t["name"], t["rows"], t["change"]) for t in tables["list"]][0] == ("orders", 20000, None)
    assert sum(t["rows"] for t in tables["list"]) == first["rows"] and {t["name"] for t in tables["list"]} >= set(ODD)
    assert tables["source"]["encoding"] == "UTF8" and tables["source"]["collation_provider"] == "libc"
    server.sql("alerts_tables", "DELETE FROM orders; DROP TABLE gone; INSERT INTO s.grown VALUES (2); CREATE TABLE fresh (a int);"
               "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing; CREATE FOREIGN TABLE far (a int) SERVER nowhere")
    second = stack.seal("shop", "after")
    tables = stack.api("GET", f"/api/v1/checkpoints/{second['id']}/tables?order=change")[1]
    assert tables["previous"]["id"] == first["id"] and tables["changes"] == {"same": 5, "changed": 2, "added": 1, "removed": 1, "unlisted": 0}
    assert [(t["name"], t["rows_change"], t["change"]) for t in tables["list"]][:2] == [("orders", -20000, "changed"), ("grown", 1, "changed")]
    assert [(t["name"], t["rows"], t["change"]) for t in tables["missing"]] == [("gone", 0, "removed")]
    fires = wait_for("the alerts", lambda: (lambda a: a if {"table_fallen", "omissions_new"} <= a.keys() else None)(
        {a["condition"]: a for a in stack.api("GET", "/api/v1/alerts")[1]["alerts"] if a["state"] == "firing"}), every=0.2)
    assert fires["table_fallen"]["summary"].endswith(": public.orders has 0 rows (it had 20000)"), fires
    assert f"pgseal plan shop --checkpoint {first['id']}" in fires["table_fallen"]["remedy"]
    assert "leaves out 1 object that the one before it did not: foreign_table_data public.far" in fires["omissions_new"]["summary"], fires
    shown = stack.cli("tables", "after", "--by", "change").stdout
    assert "Since before" in shown and "1 new, 1 gone, 2 changed" in shown, shown
    assert re.search(r"^public\.orders +0 +0 B +-20000$", shown, re.M) and re.search(r"^public\.gone +had 0 +0 B +gone$", shown, re.M), shown
    assert r'public.U&"line\000Abreak"' in shown and "<img src=x" in shown
    short = stack.cli("tables", "after", "--limit", "1").stdout
    assert "... and 7 more; --limit 8 shows them" in short, short
    viewer = stack.api("POST", "/api/v1/tokens", {"name": "elsewhere", "role": "viewer", "databases": ["other-*"]})[1]["token"]
    assert stack.api("GET", f"/api/v1/checkpoints/{second['id']}/tables", token=viewer)[0] == 404


@pytest.mark.long  # a second coordinator takes over after its time
def test_the_next_leader_sends(make_stack, ledger_server):
    """Two coordinators on one ledger: the one that leads is killed when it has raised an alert and sent nothing; each receiver has
    the message once, from the other."""
    ledger_server.create("alerted")
    hook, port = Hook(), free_port()
    stack = make_stack({"shop": "dbname=nowhere"}, start=False, ledger=ledger_server.conninfo("alerted"), agents=(), agent_wait_seconds=1,
                       alerts=alerts_of(hook, port))
    for name, text in (("hook.key", KEY), ("chat.url", hook.url("/T0KEN")), ("team.url", hook.url("/t3am"))):
        (stack.dir / name).write_text(text + "\n")
    stack.start_coordinator()
    other = second_coordinator(stack, free_port())
    stack.request("shop", "nightly")
    wait_for("an attempt by each", lambda: all(route(stack, r)["error"] and route(stack, r)["waiting"] == 1 for r in BY), every=0.2)
    assert all(route(other, r)["waiting"] == 1 for r in BY) and "this coordinator leads" not in stack.log("second")
    stack.kill("coordinator")
    hook.start()
    mail = Mail(port)
    wait_for("all messages", lambda: not any(route(other, r)["waiting"] for r in BY), timeout=60, every=0.2)
    assert "this coordinator leads" in stack.log("second")
    told = json.loads(hook.at("/hook")[0][2])["alerts"]
    assert [(a["event"], a["condition"]) for a in told] == [("fired", "checkpoint_errored")]
    stack.start_coordinator()  # the old one is back: it has nothing to send
    wait_for("the watchdog", lambda: len(hook.at("/alive")) > 2, every=0.2)
    assert [len(hook.at(path)) for path in ("/hook", "/T0KEN", "/t3am", "/pager")] == [1, 1, 1, 1] and len(mail.got) == 1


SERVER = """
import asyncio, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
class Handler:
    async def handle_DATA(self, server, session, envelope):
        open(sys.argv[4], 'ab').write(envelope.original_content + b'====')
        return '250 ok'
def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b'pgseal' and data.password == b's3cret-of-mail', handled=False)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
Controller(Handler(), hostname='127.0.0.1', port=int(sys.argv[1]), tls_context=context, require_starttls=True, auth_required=True,
           authenticator=authenticate).start()
asyncio.new_event_loop().run_forever()
"""


@pytest.mark.long  # wants python3-aiosmtpd
def test_mail_by_starttls(make_stack):
    """A real mail server that wants TLS and a password: first one whom nobody trusts, then a wrong password."""
    port = free_port()
    stack = make_stack({"shop": "dbname=nowhere"}, agents=(), tls=True, start=False, alerts={"routes": [
        {"name": "mail", "type": "email", "url": f"smtp://localhost:{port}", "user": "pgseal", "password_file": "mail.password",
         "from": "pgseal@example.com", "to": ["dba@example.com"], "ca_file": "mail-ca.pem"}]})
    box, password = stack.dir / "box", stack.dir / "mail.password"
    (stack.dir / "mail-ca.pem").write_bytes(stack.tls.ca.read_bytes())
    password.write_text("wrong\n")
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(stack.tls.certificate), str(stack.tls.key), str(box)])
    try:
        stack.start_coordinator()
        wrong = wait_for("the server", lambda: (lambda d: d if "connect" not in d.stderr else None)(
            stack.cli("alert", "test", "mail", check=False)), every=0.5)
        assert wrong.returncode == 4 and "Login denied" in wrong.stderr, wrong.stderr
        password.write_text("s3cret-of-mail\n")
        assert stack.cli("alert", "test", "mail").returncode == 0
        assert b"Subject: =?UTF-8?B?" in box.read_bytes() and box.read_bytes().count(b"====") == 1
        (stack.dir / "mail-ca.pem").write_bytes(Certificates(stack.dir / "others").ca.read_bytes())
        untrusted = stack.cli("alert", "test", "mail", check=False)
        assert untrusted.returncode == 4 and "certificate" in untrusted.stderr, untrusted.stderr
        assert "s3cret" not in stack.log("coordinator")
    finally:
        server.kill()
        server.wait()
