"""pgseal plan and guard: a migration that destroys something ends in its own exit status, with the plan, at once."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest

from support.shell import BIN
from support.stack import Stack

SCHEMA = """
    CREATE TABLE orders (id int PRIMARY KEY, total numeric NOT NULL CHECK (total >= 0), note text);
    CREATE TABLE payments (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders (id));
    CREATE VIEW open_orders AS SELECT id FROM orders;
    CREATE INDEX orders_note ON orders (note);
    CREATE TABLE invoices (id int PRIMARY KEY, v text); CREATE TABLE prices (id int PRIMARY KEY, v int);
    INSERT INTO orders SELECT i, i, 'n' || i FROM generate_series(1, 1000) i;
    INSERT INTO payments SELECT i, i FROM generate_series(1, 500) i;
    INSERT INTO invoices SELECT i, md5(i::text) FROM generate_series(1, 2000) i; INSERT INTO prices SELECT i, i FROM generate_series(1, 100) i"""


@pytest.fixture(scope="module")
def stack(base):
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", {"shop": "host=/nowhere dbname=shop"},
              agents=("dump+drill+restore",), environment="production").start()
    yield s
    s.remove()


@pytest.fixture
def shop(stack, server):
    """A new database of that name each time: what a migration breaks is the next test's no more."""
    server.create("guarded")
    server.sql("guarded", SCHEMA)
    (stack.dir / "databases/shop").write_text(server.conninfo("guarded") + "\n")
    return lambda sql: server.sql("guarded", sql)


def migration(server, sql):
    """A command that runs it, as a migration tool would."""
    return ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server.conninfo("guarded"), "-c", sql]


def guard(stack, *argv, **kw):
    return stack.cli("guard", "shop", *argv, check=False, **kw)


DAMAGE = {
    "recreated with CASCADE": ("DROP TABLE orders CASCADE; CREATE TABLE orders (id int PRIMARY KEY)",
                               ["CONSTRAINT", "payments_order_id_fkey", "open_orders", "1000 rows then, 0 now"]),
    "dropped column": ("ALTER TABLE orders DROP COLUMN note", ["column public.orders.note", "orders_note", "ADD COLUMN note text"]),
    "dropped constraint": ("ALTER TABLE payments DROP CONSTRAINT payments_order_id_fkey",
                           ["payments_order_id_fkey", "FOREIGN KEY (order_id) REFERENCES public.orders(id)"]),
    "dropped index": ("DROP INDEX orders_note", ["INDEX public.orders_note", "CREATE INDEX orders_note"]),
    "rows": ("DELETE FROM invoices WHERE id > 1500", ["invoices: 2000 rows then, 1500 now", "--beside --table public.invoices"]),
    "truncated": ("TRUNCATE prices", ["prices: 100 rows then, 0 now"]),
}


@pytest.mark.parametrize("what", DAMAGE, ids=lambda w: w.replace(" ", "-"))
def test_damage(stack, shop, server, what):
    sql, said = DAMAGE[what]
    begun = time.monotonic()
    done = guard(stack, "--on-damage", "rollback-plan", "--tag", what, "--", *migration(server, sql))
    assert done.returncode == 5, done.stderr
    assert "SOMETHING IS LOST" in done.stderr and "[production]" in done.stderr and "· PROVEN ·" in done.stderr
    for words in said:
        assert words in done.stderr, (words, done.stderr)
    assert done.stdout == ""
    events = [e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"] == "guard.damage"]
    assert events and events[-1]["time_us"] / 1e6 > time.time() - (time.monotonic() - begun) - 1


def test_harmless(stack, shop, server):
    """Its streams and exit status are the command's own, and nothing is said to be lost."""
    migrate = " ".join(f"'{a}'" for a in migration(server, "ALTER TABLE orders ADD c int; DELETE FROM invoices WHERE id = 1"))
    script = f"read line; echo \"got $line\"; echo err >&2; {migrate}; exit 7"
    with tempfile.TemporaryFile("w+") as said:
        said.write("hello\n")
        said.seek(0)
        done = guard(stack, "--", "sh", "-c", script, stdin=said)
    assert done.returncode == 7 and done.stdout == "got hello\n" and "err\n" in done.stderr, done.stderr
    assert "exit status 7" in done.stderr and "1 table still there lost rows" in done.stderr and "SOMETHING" not in done.stderr
    assert guard(stack, "--", "true").returncode == 0


def test_damage_by_a_command_that_fails(stack, shop, server):
    done = guard(stack, "--", "sh", "-c", " ".join(f"'{a}'" for a in migration(server, "DROP TABLE prices")) + "; exit 1")
    assert done.returncode == 5 and "TABLE public.prices" in done.stderr
    assert guard(stack, "--on-damage", "report", "--", *migration(server, "DROP TABLE invoices")).returncode == 0


def test_started_by_one_who_ignores_the_end_of_children(stack, shop):
    env = {**os.environ, "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token}
    done = subprocess.run([BIN / "pgseal", "guard", "shop", "--", "sh", "-c", "exit 7"], env=env, timeout=120, capture_output=True,
                          preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert done.returncode == 7, done.stderr


def test_before_and_after(stack, shop, server):
    assert guard(stack, "--before", "--tag", "elsewhere").returncode == 0
    assert guard(stack, "--after", "--tag", "elsewhere").returncode == 0
    shop("DROP TABLE payments")
    done = guard(stack, "--after", "--tag", "elsewhere", "--json")
    assert done.returncode == 5 and json.loads(done.stdout)["report"]["damage"] == "lost"
    assert guard(stack, "--after", "--tag", "never").returncode == 2


def test_threshold(stack, shop, server):
    delete = migration(server, "DELETE FROM invoices WHERE id <= 60")  # 3 %
    assert guard(stack, "--", *delete).returncode == 0
    shop("INSERT INTO invoices SELECT i, 'x' FROM generate_series(1, 60) i")
    assert guard(stack, "--threshold", "2", "--", *delete).returncode == 5


def test_nothing_is_run_without_a_proof(stack, shop, server, tmp_path):
    shop("CREATE ROLE gone")
    shop("CREATE TABLE locked_out (id int); ALTER TABLE locked_out ENABLE ROW LEVEL SECURITY")
    (stack.dir / "databases/shop").write_text("host=/nowhere dbname=shop\n")
    done = guard(stack, "--", "touch", tmp_path / "ran")
    assert done.returncode == 4 and "was not run" in done.stderr and not (tmp_path / "ran").exists()
    shop("DROP ROLE gone")


def test_usage(stack):
    for argv in ([], ["--before"], ["--before", "--after", "--tag", "x"], ["--on-damage", "panic", "--", "true"], ["--threshold", "101", "--", "true"]):
        assert guard(stack, *argv).returncode == 2, argv
    assert guard(stack, "--", "/nowhere/migrate").returncode != 0


def test_signals_are_handed_on(stack, shop, tmp_path):
    env = {**os.environ, "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token}
    script = f"trap 'echo stopped; exit 9' TERM; touch {tmp_path}/runs; while :; do sleep 0.1; done"
    process = subprocess.Popen([BIN / "pgseal", "guard", "shop", "--", "bash", "-c", script], env=env, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL)
    for _ in range(600):
        if (tmp_path / "runs").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "stopped\n" and process.returncode == 9


def test_plan(stack, shop, server):
    stack.seal("shop", "planned")
    same = stack.cli("plan", "shop", "--checkpoint", "planned")
    assert "Nothing is lost" in same.stdout and "as many rows as then" in same.stdout
    shop("UPDATE prices SET v = v + 1 WHERE id <= 10; DELETE FROM invoices WHERE id = 5; INSERT INTO invoices VALUES (5000, 'new')")
    done = stack.cli("plan", "shop", "--rows", "invoices", "--digest", "prices", check=False)
    assert "invoices: 2000 rows then, 2000 now (1 missing, 0 changed, 1 new since)" in done.stdout, done.stdout
    assert "prices: 100 rows then, 100 now, content changed" in done.stdout
    missing = stack.cli("plan", "shop", "--table", "invoice", check=False)
    assert missing.returncode == 2 and "invoices" in missing.stderr, missing.stderr
    other = stack.cli("plan", "shp", check=False)
    assert other.returncode == 2 and "shop" in other.stderr
