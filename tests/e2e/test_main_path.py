"""The main path as a user meets it: one blocking request, sealed, shown, drilled again, fetched. (Opened without pgseal: tests/docs.)"""
import json
import subprocess

from support.postgres import tools_dir
from support.shell import run, wait_for


def make_shop(server, database="shop"):
    server.create(database)
    server.sql(database, """
        CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, joined date DEFAULT current_date);
        CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customer, total numeric(10,2), note text);
        CREATE INDEX ON orders (customer);
        INSERT INTO customer SELECT i, 'customer ' || i FROM generate_series(1, 5000) i;
        INSERT INTO orders (customer, total, note) SELECT 1 + i % 5000, i / 3.0, md5(i::text) FROM generate_series(1, 200000) i;""")
    return server.conninfo(database)


def test_blocking_request_is_answered_sealed(make_stack, server, engine):
    stack = make_stack({"prod-api": make_shop(server)}, engine=engine, images={15: engine.image(15)})
    status, body = stack.checkpoint("prod-api", "pre-deploy-4f3a9c1")
    assert status == 200, body
    assert body["ok"] is True and body["restore_drill"] == "proven"
    assert (body["database"], body["tag"]) == ("prod-api", "pre-deploy-4f3a9c1")
    assert body["tables"] == 2 and body["rows"] == 205000
    assert body["size_bytes"] == sum(p.stat().st_size for n, p in stack.objects(stack.show(body["id"])).items() if n.endswith(".zst.cms"))
    assert body["size"].endswith("B") and body["seconds"] > 0

    shown = stack.show("pre-deploy-4f3a9c1")
    assert shown["id"] == body["id"] and shown["state"] == "sealed" and shown["ok"] is True
    names = stack.objects(shown)
    assert {"manifest.json.cms", "manifest.json.cms.sig", "roles.sql.zst.cms", "000000.zst.cms"} <= set(names)
    assert [n for n in names if n.startswith("proofs/") and n.endswith(".json.cms")]
    assert all(p.stat().st_mode & 0o077 == 0 for p in names.values()), "repository objects are private"

    events = stack.api("GET", "/api/v1/ledger?limit=200")[1]["events"]
    kinds = [e["kind"] for e in events]
    for kind in ("checkpoint.requested", "job.leased", "checkpoint.stored", "checkpoint.sealed"):
        assert kind in kinds, kinds
    assert stack.api("GET", "/api/v1/ledger/verify")[1]["ok"] is True
    stack.assert_clean()


def test_cli_and_second_drill(make_stack, server):
    stack = make_stack({"prod-api": make_shop(server)}, environment="production")
    done = stack.cli("checkpoint", "prod-api", "--tag", "pre deploy ünïcode")
    assert "PROVEN" in done.stdout and "205" in done.stdout, done.stdout
    listed = json.loads(stack.cli("ledger", "--json").stdout)
    identity = [e["checkpoint_id"] for e in listed["events"] if e["kind"] == "checkpoint.sealed"][0]
    assert "production" in stack.cli("databases").stdout.lower()
    assert stack.cli("show", identity).returncode == 0
    again = stack.cli("drill", identity)
    assert again.returncode == 0 and "PROVEN" in again.stdout
    proofs = [n for n in stack.objects(stack.show(identity)) if n.startswith("proofs/") and n.endswith(".cms")]
    assert len(proofs) == 2, "every drill leaves its own proof"
    stack.assert_clean()


def test_cli_exit_codes(stack):
    assert stack.cli("checkpoint", check=False).returncode == 2
    unknown = stack.cli("checkpoint", "shopp", "--tag", "x", check=False)
    assert unknown.returncode != 0 and "shop" in unknown.stderr, "the nearest name is suggested"
    url, stack.url = stack.url, "http://127.0.0.1:9"
    try:
        assert stack.cli("status", check=False).returncode == 3
    finally:
        stack.url = url
    token, stack.token = stack.token, "pgseal_wrong"
    try:
        assert stack.cli("status", check=False).returncode == 3
    finally:
        stack.token = token
    for command in ((), ("checkpoint",), ("dev",), ("fetch",), ("token",), ("key",)):
        assert "Usage" in stack.cli(*command, "--help").stdout or "usage" in stack.cli(*command, "--help").stdout


def test_fetch_is_a_standard_seekable_archive(make_stack, server, base):
    stack = make_stack({"prod-api": make_shop(server)}, segment_mb=1)
    sealed = stack.seal("prod-api", "t")
    out = stack.dir / "shop.dump"
    stack.cli("fetch", "t", "--repository", stack.repository, "--key", stack.dir / "keys/escrow.key",
              "--certificate", stack.dir / "keys/escrow.crt", "--output", out)
    listing = run([tools_dir(15) / "pg_restore", "-l", out]).stdout
    assert "TABLE DATA public orders" in listing
    server.create("fetched")
    run([tools_dir(15) / "pg_restore", "-j2", "-d", server.conninfo("fetched"), out])  # parallel restore needs the offsets
    assert server.sql("fetched", "SELECT count(*), sum(total) FROM orders") == server.sql("shop", "SELECT count(*), sum(total) FROM orders")
    streamed = run([stack_bin() / "pgseal", "fetch", sealed["id"], "--repository", stack.repository, "--key",
                    stack.dir / "keys/drill.key", "--certificate", stack.dir / "keys/drill.crt", "--stdout"], text=False,
                   env={"PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token, "PATH": "/usr/bin:/bin"}).stdout
    assert streamed[:5] == b"PGDMP" and len(streamed) == sealed["archive_bytes"]
    wrong = stack.cli("fetch", "t", "--repository", stack.repository, "--key", stack.dir / "keys/foreign.key",
                      "--certificate", stack.dir / "keys/foreign.crt", "--output", stack.dir / "no.dump", check=False)
    assert wrong.returncode != 0 and "key" in wrong.stderr and not (stack.dir / "no.dump").exists()


def stack_bin():
    from support.shell import BIN
    return BIN



def test_exact_under_write_load(make_stack, server):
    server.create("bench")
    run(["/usr/lib/postgresql/15/bin/pgbench", "-i", "-q", "-s", "5", server.conninfo("bench")])
    stack = make_stack({"bench": server.conninfo("bench")})
    load = subprocess.Popen(["/usr/lib/postgresql/15/bin/pgbench", "-c", "4", "-T", "600", "-n", server.conninfo("bench")],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("writes", lambda: server.sql("bench", "SELECT count(*) FROM pgbench_history")[0][0] > 100)
        first = stack.seal("bench", "one")
        second = stack.seal("bench", "two")
    finally:
        load.kill()
        load.wait()
    assert second["rows"] > first["rows"], "the load really wrote in between"


def test_idempotency_key_joins(make_stack, server):
    stack = make_stack({"prod-api": make_shop(server)})
    body = {"database": "prod-api", "tag": "once", "wait": False}
    first = stack.api("POST", "/api/checkpoint", body, headers={"Idempotency-Key": "k1"})
    assert first[0] == 202 and first[2]["Location"]
    again = stack.api("POST", "/api/checkpoint", dict(body, wait=True), headers={"Idempotency-Key": "k1"})
    assert again[0] == 200 and again[1]["id"] == first[1]["id"]
    assert len(stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"]) == 1
