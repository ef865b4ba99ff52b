"""A migration is run on a drilled copy first: what it would do is found there, and production is not touched."""
import http.server
import json
import pathlib
import tempfile
import threading
import urllib.error
import urllib.request

import pytest

from support.shell import BIN
from support.stack import Stack
from test_ci import github

# Each of what goes wrong on a Friday has a table of its own.
SCHEMA = """
CREATE TABLE invoice (id int PRIMARY KEY, state text);
CREATE TABLE account (id int PRIMARY KEY, balance int);
CREATE TABLE price (id int PRIMARY KEY, amount numeric(10, 2));
CREATE TABLE person (id int PRIMARY KEY, email text);
CREATE TABLE customer (id int PRIMARY KEY);
CREATE TABLE "order" (id int PRIMARY KEY, customer int CONSTRAINT of_customer REFERENCES customer);
CREATE TABLE note (id int PRIMARY KEY, body text);
CREATE TABLE audit (id int PRIMARY KEY);
CREATE VIEW audited AS SELECT count(*) FROM audit;
CREATE TABLE busy (id int PRIMARY KEY);
INSERT INTO invoice SELECT i, CASE WHEN i % 3 = 0 THEN 'final' ELSE 'draft' END FROM generate_series(1, 900) i;
INSERT INTO account SELECT i, i FROM generate_series(1, 500) i;
INSERT INTO price SELECT i, i + 0.55 FROM generate_series(1, 500) i;
INSERT INTO person SELECT i, 'someone-'||i||'@example.org' FROM generate_series(1, 500) i;
INSERT INTO customer SELECT i FROM generate_series(1, 50) i;
INSERT INTO "order" SELECT i, 1 + i % 50 FROM generate_series(1, 500) i;
INSERT INTO note SELECT i, 'nobody may read this' FROM generate_series(1, 500) i;
INSERT INTO audit SELECT i FROM generate_series(1, 500) i;
INSERT INTO busy SELECT i FROM generate_series(1, 10) i;
"""
FRIDAY = """
DELETE FROM invoice WHERE state = 'final';  -- and whose?
UPDATE account SET balance = 0;
ALTER TABLE price ALTER amount TYPE int;
ALTER TABLE person DROP COLUMN email;
ALTER TABLE "order" DROP CONSTRAINT of_customer;
ALTER TABLE note RENAME TO remark;
DROP TABLE audit CASCADE;
BEGIN; LOCK TABLE busy; SELECT pg_sleep(1.2); COMMIT;
"""


def tables(server):
    """Dropped, rewritten or renamed: one of these is another then."""
    return server.sql("rehearsed", "SELECT array_agg((oid, relname, relfilenode) ORDER BY oid)::text FROM pg_class")


@pytest.fixture(scope="module")
def stack(base, server):
    server.create("rehearsed")
    server.sql("rehearsed", SCHEMA)
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="h.", dir=base)) / "p", {"shop": server.conninfo("rehearsed")},
              agents=("dump+drill+rehearse",)).start()
    s.before = tables(server)
    s.sealed = s.seal("shop", "before")
    yield s
    s.remove()


def rehearse(stack, *argv, secret=None, **kw):
    return stack.cli("rehearse", "shop", "--secret-file", secret or stack.dir / "keys/rehearse.secret", *argv, check=False, **kw)


def script(stack, name, text):
    path = stack.dir / name
    path.write_text(text)
    return path


def found(job):
    return {(f["kind"], f["object"]) for f in job["report"]["findings"] if f["danger"]}


FOUND = {
    ("rows_lost", "public.invoice"), ("rows_changed", "public.account"), ("column_retyped", "public.price.amount"),
    ("column_lost", "public.person.email"), ("object_lost", 'FK CONSTRAINT of_customer of public."order"'),
    ("object_lost", "TABLE public.audit"), ("object_lost", "VIEW public.audited"), ("lock", "public.busy"),
}


def test_friday(stack, server):
    """The wrong DELETE and UPDATE, the retyped and the dropped column, the dropped foreign key, the renamed table, DROP
    CASCADE, and the lock that is held for long: each is found, and production has none of it."""
    path, summary = script(stack, "friday.sql", FRIDAY), stack.dir / "summary.md"
    done = rehearse(stack, "--sql", path, "--rows", "account", "--lock-seconds", "1", "--summary", summary, "--json")
    assert done.returncode == 5, done
    job = json.loads(done.stdout)
    assert FOUND <= found(job), json.dumps(job["report"]["findings"], indent=1)
    notes = {(f["kind"], f["object"]) for f in job["report"]["findings"] if not f["danger"]}
    assert {("renamed", "TABLE public.note"), ("rewrite", "public.price")} <= notes, notes
    assert job["report"]["verdict"] == "dangerous" and job["report"]["copy"]["checkpoint"] == stack.sealed["id"]
    assert "someone-" not in done.stdout and "nobody may read" not in done.stdout
    shown = stack.cli("job", "show", job["id"]).stdout
    assert shown.count("DANGER") >= 1 + len(FOUND) and "TABLE public.note: it is called remark now" in shown, shown
    page = summary.read_text()
    assert page.startswith("### pgseal rehearse: DANGEROUS\n") and page.count("| **danger** |") == len(found(job)), page
    assert tables(server) == stack.before
    # of its SQL nothing is kept but digests
    kept = job["request"]["sql"]
    assert [set(f) for f in kept] == [{"name", "bytes", "sha256"}] and kept[0]["bytes"] == len(FRIDAY)
    events = {e["kind"]: e["detail"] for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]}
    assert events["rehearsal.finished"]["verdict"] == "dangerous" and kept[0]["sha256"] in events["rehearsal.requested"]["sql"][0]
    assert b"nobody may read" not in (stack.dir / "ledger.db").read_bytes() and b"and whose?" not in (stack.dir / "ledger.db").read_bytes()
    assert stack.show(stack.sealed["id"])["state"] == "sealed"
    stack.assert_clean()


def test_what_fails_and_what_does_no_harm(stack, server):
    """One file goes wrong in its second statement, in a pipeline; and with --fresh what is rehearsed on is as of now."""
    good = script(stack, "good.sql", "ALTER TABLE invoice ADD COLUMN due date;\nCREATE INDEX CONCURRENTLY by_state ON invoice (state);\n")
    bad = script(stack, "bad.sql", "SELECT 1;\n\nINSERT INTO nowhere VALUES ('secret of a row');\nDROP TABLE invoice;\n")
    inputs = {"url": stack.url, "token": stack.token, "database": "shop", "mode": "rehearse", "program": str(BIN / "pgseal"),
              "secret": (stack.dir / "keys/rehearse.secret").read_text().strip(), "sql": f"  {good}\n{bad}\n", "allow": "lock rewrite"}
    failed, told, summary = github(stack, inputs, **{"github.sha": "4f3a", "github.run_id": "77", "github.run_attempt": "1"})
    assert failed.returncode == 1 and "THE MIGRATION FAILED" in failed.stderr and told["verdict"] == "failed", failed
    assert f"{bad}, line 3" in failed.stderr and 'relation "nowhere" does not exist' in failed.stderr, failed.stderr
    assert "secret of a row" not in failed.stdout + failed.stderr + summary and "rows_lost" not in failed.stderr
    assert "the migration failed" in failed.stdout and summary.startswith("### pgseal rehearse: THE MIGRATION FAILED\n"), summary
    server.sql("rehearsed", "CREATE TABLE later (id int PRIMARY KEY)")
    fine = rehearse(stack, "--fresh", "--tag", "fresh", "--sql", good, "--sql", script(stack, "later.sql", "INSERT INTO later VALUES (1)"))
    assert fine.returncode == 0 and "No danger was found" in fine.stdout and "checkpoint fresh" in fine.stdout, fine
    assert server.sql("rehearsed", "SELECT count(*) FROM later") == [(0,)]
    server.sql("rehearsed", "DROP TABLE later")


def test_who_may(stack):
    """Only with the secret: a token and the coordinator alone run nothing."""
    other = script(stack, "other.secret", stack.cli("rehearse", "--new-secret").stdout)
    path = script(stack, "any.sql", "DROP TABLE invoice")
    done = rehearse(stack, "--sql", path, secret=other)
    assert done.returncode == 4 and "others than its owner may read it" in done.stderr, done
    other.chmod(0o600)
    done = rehearse(stack, "--sql", path, secret=other)
    assert done.returncode == 4 and "not asked for with this agent's secret" in done.stderr and not done.stdout, done
    job = stack.api("GET", "/api/v1/jobs?kind=rehearse&limit=1")[1]["jobs"][0]
    assert job["state"] == "errored" and job["error"]["code"] == "forbidden", job
    assert "secret of" not in stack.log("coordinator") and other.read_text().strip() not in stack.log("coordinator")
    meta = rehearse(stack, "--sql", script(stack, "meta.sql", "SELECT 1;\n\\copy invoice from x\n"))
    assert meta.returncode == 2 and "line 2" in meta.stderr and "--command" in meta.stderr, meta


class Between(http.server.ThreadingHTTPServer):
    """Stands where a coordinator stands that somebody has stolen: sees all that passes, and may alter the tunnel's bytes."""

    def __init__(self, stack, alter):
        super().__init__(("127.0.0.1", 0), Passing)
        self.upstream, self.alter, self.seen, self.altered = stack.url, alter, [], 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def pass_on(self, path, body):
        if path.endswith("/tunnel") and self.alter and len(body) > 150:
            self.altered += 1
            body = body[:-40] + bytes([body[-40] ^ 1]) + body[-39:]
        if path.endswith("/tunnel"):
            self.seen.append(body)
        return body


class Passing(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.server.pass_on(self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
        request = urllib.request.Request(self.server.upstream + self.path, data=body if self.command == "POST" else None, method=self.command)
        for name in ("Authorization", "Content-Type", "Idempotency-Key"):
            if name in self.headers:
                request.add_header(name, self.headers[name])
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, said = answer.status, answer.read()
        except urllib.error.HTTPError as e:
            status, said = e.code, e.read()
        said = self.server.pass_on(self.path, said)
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET

    def log_message(self, *_):
        pass


PSQL = "/usr/lib/postgresql/15/bin/psql -X -q -v ON_ERROR_STOP=1"


def test_a_command(stack, server):
    """psql by PGHOST and by DATABASE_URL; what is between sees nothing of it. The command's input, output and environment are
    its own, but for pgseal's secrets."""
    between = Between(stack, alter=False)
    command = f"""{PSQL} -Atc 'SELECT current_user, max(email) FROM person' -c "DELETE FROM invoice WHERE state = 'final'" &&
                  {PSQL} "$DATABASE_URL" -c 'ALTER TABLE person DROP email' && cat && echo "$PGSSLROOTCERT" && ! env | grep -E 'PGSEAL_(TOKEN|REHEARSE)'"""
    done = stack.cli("rehearse", "shop", "--url", between.url, "--secret-file", stack.dir / "keys/rehearse.secret", "--command", command,
                     check=False, input="from outside\n", stdin=None)
    between.shutdown()
    assert done.returncode == 5, done
    said, given, certificate, *_ = done.stdout.splitlines()
    assert (said, given) == ("pgseal_rehearse|someone-9@example.org", "from outside"), done.stdout
    assert "public.invoice: 300 of 900 rows are gone" in done.stdout and "public.person.email: it is gone" in done.stdout, done.stdout
    tunnel = b"".join(between.seen)
    assert len(tunnel) > 2000 and not [w for w in (b"someone-", b"DELETE", b"current_user", b"max(email)") if w in tunnel]
    assert tables(server) == stack.before and certificate.endswith("/copy.crt") and not pathlib.Path(certificate).exists()
    stack.assert_clean()


def test_what_is_altered_on_the_way(stack):
    """The coordinator can break the tunnel, but has nothing run, and nothing is taken for the copy's answer."""
    between = Between(stack, alter=True)
    done = stack.cli("rehearse", "shop", "--url", between.url, "--secret-file", stack.dir / "keys/rehearse.secret", "--json",
                     "--", *PSQL.split(), "-c", "DELETE FROM invoice", check=False)
    between.shutdown()
    assert done.returncode == 1 and between.altered > 0 and "SSL" in done.stderr, done
    report = json.loads(done.stdout)["report"]
    assert report["verdict"] == "failed" and report["statements"]["count"] == 0 and not [f for f in report["findings"] if "lost" in f["kind"]], report
