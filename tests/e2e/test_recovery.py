"""The way back, as a person goes it: guard or plan say what is gone, restore puts it back, and asks whether it is meant."""
import json
import os
import pathlib
import pty
import re
import select
import shlex
import signal
import subprocess
import tempfile
import threading
import time

import psycopg2
import pytest

from support.issuer import Issuer
from support.shell import BIN, run, wait_for
from support.stack import Stack
from test_sign_in import Guest

SCHEMA = """
    CREATE TABLE orders (id serial PRIMARY KEY, total numeric NOT NULL CHECK (total >= 0), note text DEFAULT 'none');
    CREATE TABLE payments (id serial PRIMARY KEY, order_id int NOT NULL REFERENCES orders (id));
    CREATE VIEW open_orders AS SELECT id, total FROM orders WHERE note = 'open';
    CREATE INDEX orders_note ON orders (note); COMMENT ON TABLE orders IS 'what people want'; GRANT SELECT ON orders, open_orders TO PUBLIC;
    CREATE TABLE carts (id serial PRIMARY KEY, at timestamptz DEFAULT now());
    CREATE TABLE invoices (id serial PRIMARY KEY, final bool NOT NULL, note text);
    INSERT INTO orders (total) SELECT i FROM generate_series(1, 1000) i;
    INSERT INTO payments (order_id) SELECT i FROM generate_series(1, 500) i;
    INSERT INTO invoices (final, note) SELECT i % 3 = 0, md5(i::text) FROM generate_series(1, 3000) i"""


@pytest.fixture(scope="module")
def stack(base):
    """`shop`, `lost` and `team` are production; a restore of `team` needs a second person."""
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p",
              {n: f"host=/nowhere dbname={n}" for n in ("shop", "lost", "team", "odd", "names")}, agents=("dump+drill+restore",),
              each={"shop": {"environment": "production"}, "lost": {"environment": "production", "lock_timeout_seconds": 120}, "team": {"environment": "production", "restore_approval": True}})
    s.issuer = Issuer()
    s.options["oidc"] = s.issuer.config(s.dir, s.url)
    s.write_coordinator()
    s.start()
    for name, role in (("pipeline", "ci"), ("eyes", "viewer"), ("second", "operator")):
        s.cli("token", "create", "--name", name, "--role", role, "--output", s.dir / name)
    yield s
    s.issuer.server.shutdown()
    s.remove()


def new_database(stack, server, name, schema):
    server.create(f"{name}_live")
    server.sql(f"{name}_live", schema)
    (stack.dir / "databases" / name).write_text(server.conninfo(f"{name}_live") + "\n")
    return lambda sql: server.sql(f"{name}_live", sql)


def rows(server, sql, database="shop_live"):
    with psycopg2.connect(server.conninfo(database)) as c, c.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def definitions(server, *tables):
    """As pg_dump has them, with who may what; without what differs from one run to the next."""
    said = run(["pg_dump", "--schema-only", *(w for t in tables for w in ("-t", t)), server.conninfo("shop_live")]).stdout
    return [line for line in said.splitlines() if line and not line.startswith(("--", "\\"))]


class Writes:
    """An application that goes on meanwhile. Counts what was acknowledged."""

    def __init__(self, server, sql):
        self.server, self.sql, self.done, self.over, self.failed = server, sql, 0, threading.Event(), None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            connection = psycopg2.connect(self.server.conninfo("shop_live"))
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not self.over.wait(0.02):
                    cursor.execute(self.sql)
                    self.done += 1
            connection.close()
        except psycopg2.Error as error:
            self.failed = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        assert self.failed is None and self.done > 0, self.failed


def restore(stack, *argv, database="shop", **kw):
    """No terminal is there to be asked."""
    return stack.cli("restore", database, *argv, check=False, start_new_session=True, **kw)


def at_terminal(stack, argv, answers):
    """Runs it at a terminal of its own; answers: (what it asks, what is typed). (exit status, all that was on the screen)."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell that runs tests in the background has it ignored
        os.environ.update(PGSEAL_URL=stack.url, PGSEAL_TOKEN=stack.token, TERM="dumb")
        os.execv(BIN / "pgseal", ["pgseal", *map(str, argv)])
    screen, waiting, end = "", list(answers), time.monotonic() + 120
    while time.monotonic() < end:
        if waiting and waiting[0][0] in screen:
            os.write(terminal, waiting.pop(0)[1].encode())
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:  # its end
            break
        screen += more.decode(errors="replace")
    else:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return status, screen


def test_friday(stack, server):
    """A migration drops a table with CASCADE and makes it anew: what guard prints brings it back, and nothing else is lost."""
    new_database(stack, server, "shop", SCHEMA)
    before = definitions(server, "orders", "payments", "open_orders")
    content = rows(server, "SELECT * FROM orders ORDER BY id")
    # The application locks payments, then orders (its foreign key); a migration that does it the other way round would deadlock with it.
    migrate = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server.conninfo("shop_live"), "-c",
               "BEGIN; LOCK TABLE payments; DROP TABLE orders CASCADE; CREATE TABLE orders (id serial PRIMARY KEY); "
               "INSERT INTO orders DEFAULT VALUES; COMMIT"]
    with Writes(server, "INSERT INTO carts DEFAULT VALUES; INSERT INTO payments (order_id) VALUES (7)") as writes:
        guard = stack.cli("guard", "shop", "--tag", "pre-deploy-77", "--", *migrate, check=False)
        assert guard.returncode == 5 and "SOMETHING IS LOST" in guard.stderr, guard.stderr
        command = re.search(r"pgseal (restore shop .*--replace .*)", guard.stderr).group(1)
        assert "orders" in command and "payments" not in command, command
        done = restore(stack, *shlex.split(command)[2:], "--yes-i-mean", "shop")
        assert done.returncode == 0, done.stderr
    assert definitions(server, "orders", "payments", "open_orders") == before
    assert rows(server, "SELECT * FROM orders ORDER BY id") == content
    assert rows(server, "INSERT INTO orders (total) VALUES (1) RETURNING id")[0][0] > 1000
    assert rows(server, "SELECT count(*) FROM carts")[0][0] == writes.done
    assert rows(server, "SELECT count(*) FROM payments")[0][0] == 500 + writes.done
    for said in ("RESTORED", "[production]", "public.orders: 1000, verified", "INDEX public.orders_note", "VIEW public.open_orders", "ACL of TABLE public.orders",
                 "payments_order_id_fkey: validated", "moved aside"):
        assert said in done.stdout, (said, done.stdout)
    moved = re.search(r"to schema (pgseal_displaced_\w+)", done.stdout).group(1)
    assert rows(server, f"SELECT count(*) FROM {moved}.orders") == [(1,)]
    assert "Changed, nothing lost" in stack.cli("plan", "shop", "--checkpoint", "pre-deploy-77").stdout
    events = {e["kind"]: e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]}
    assert events["restore.requested"]["actor"] == "admin" and events["restore.finished"]["detail"]["rows_written"] == 1000


def test_wrong_delete(stack, server, tmp_path):
    """The rows that are gone come back, and only those; what was written since stays as it is."""
    shop = new_database(stack, server, "shop", SCHEMA)
    stack.seal("shop", "before-delete")
    content = rows(server, "SELECT * FROM invoices ORDER BY id")
    shop("DELETE FROM invoices WHERE NOT final; INSERT INTO invoices VALUES (4, true, 'made again'); UPDATE invoices SET note = 'since' WHERE id = 3")
    with Writes(server, "INSERT INTO invoices (final, note) VALUES (true, 'new')") as writes:
        plan = stack.cli("plan", "shop", "--rows", "invoices", check=False)
        assert plan.returncode == 5 and "1999 missing, 2 changed" in plan.stdout, plan.stdout
        done = restore(stack, "--checkpoint", "before-delete", "--table", "invoices", "--beside", "--script-out", tmp_path / "back.sql",
                       "--yes-i-mean", "shop")
        assert done.returncode == 0 and "1999 rows missing, 2 changed" in done.stdout, done.stdout + done.stderr
        assert "insert 1999 rows of public.invoices" in (tmp_path / "back.sql").read_text()
        job = re.search(r"--run-script (\w+)", done.stdout).group(1)
        assert rows(server, "SELECT count(*) FROM invoices WHERE note NOT IN ('new')")[0][0] == 1001  # nothing has run yet
        wrong = restore(stack, "--run-script", job, "--rows", "2000", "--yes-i-mean", "shop")
        assert wrong.returncode == 2 and "1999" in wrong.stderr
        unasked = restore(stack, "--run-script", job, "--yes-i-mean", "shop")
        assert unasked.returncode == 2 and "--rows 1999" in unasked.stderr
        ran = restore(stack, "--run-script", job, "--rows", "1999", "--yes-i-mean", "shop")
        assert ran.returncode == 0 and "DONE" in ran.stdout, ran.stderr
    expected = [(4, True, "made again") if r[0] == 4 else (3, True, "since") if r[0] == 3 else r for r in content]
    assert rows(server, "SELECT * FROM invoices WHERE note <> 'new' ORDER BY id") == expected
    assert rows(server, "SELECT count(*) FROM invoices WHERE note = 'new'") == [(writes.done,)]

    # A row that somebody makes again after the script was written: refused, and then compared anew.
    shop("DELETE FROM invoices WHERE id BETWEEN 11 AND 20")
    again = ["--checkpoint", "before-delete", "--table", "invoices", "--beside", "--yes-i-mean", "shop"]
    earlier = restore(stack, *again)
    assert earlier.returncode == 4 and "replace" in earlier.stderr, earlier.stderr
    job = json.loads(restore(stack, *again, "--replace", "--json").stdout)["id"]
    shop("INSERT INTO invoices VALUES (12, true, 'made again')")
    late = restore(stack, "--run-script", job, "--rows", "10", "--yes-i-mean", "shop")
    assert late.returncode == 4 and "re-created" in late.stderr and "nothing was changed" in late.stderr, late.stderr
    assert rows(server, "SELECT id, note FROM invoices WHERE id BETWEEN 11 AND 20") == [(12, "made again")]
    job = json.loads(restore(stack, *again, "--replace", "--json").stdout)["id"]
    assert restore(stack, "--run-script", job, "--rows", "9", "--yes-i-mean", "shop").returncode == 0
    assert len(rows(server, "SELECT id FROM invoices WHERE id BETWEEN 11 AND 20")) == 10
    listed = stack.cli("jobs", "--database", "shop", "--kind", "restore").stdout
    assert job in listed and "errored" in listed
    assert "insert 9 rows" in stack.cli("job", "show", job).stdout


@pytest.fixture(scope="module")
def gone(stack, server):
    """A production database that has lost `prices`, with a sealed checkpoint of before."""
    lost = new_database(stack, server, "lost", """
        CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE prices (id int PRIMARY KEY, other int REFERENCES other);
        INSERT INTO prices SELECT generate_series(1, 50)""")
    sealed = stack.seal("lost", "priced")
    lost("DROP TABLE prices")
    return sealed["id"]


def is_there(server):
    return rows(server, "SELECT to_regclass('prices') IS NOT NULL", "lost_live") == [(True,)]


def jobs(stack):
    return len(stack.api("GET", "/api/v1/jobs?kind=restore&limit=500")[1]["jobs"])


def test_is_it_meant(stack, server, gone):
    prices = ["--checkpoint", gone, "--table", "prices"]
    yes = ["--yes-i-mean", "lost"]
    before = jobs(stack)
    for argv, status, said in (
        (prices, 2, "--yes-i-mean lost"),                                     # production, and nobody there
        ([*prices, "--yes-i-mean", "lot"], 2, "nothing was done"),
        ([*prices, *yes, "--token-file", stack.dir / "eyes"], 3, "forbidden"),
        ([*prices, *yes, "--token-file", stack.dir / "pipeline"], 3, "forbidden"),
        (["--table", "prices", *yes], 2, "--checkpoint is missing"),
        (["--checkpoint", "never", "--table", "prices", *yes], 2, "there is no checkpoint"),
        ([*prices, "--new-database", "x", *yes], 2, "one of them only"),
        ([*prices, "--column", "prices.id", *yes], 2, "--beside"),
        ([*prices, "--foreign-keys", "maybe", *yes], 2, "not-valid"),
        (["--run-script", "0" * 26, *yes], 2, "not_found"),
    ):
        done = restore(stack, *argv, database="lost")
        assert done.returncode == status and said in done.stderr, (argv, done.stderr)
    assert restore(stack, *prices, database="lot").returncode == 2
    assert jobs(stack) == before
    near = restore(stack, "--checkpoint", gone, "--table", "price", *yes, database="lost")
    assert near.returncode == 2 and "prices" in near.stderr and not is_there(server), near.stderr
    there = restore(stack, "--checkpoint", gone, "--table", "other", *yes, database="lost")
    assert there.returncode != 0 and "other" in there.stderr and "replace" in there.stderr, there.stderr


def test_at_a_terminal(stack, server, gone):
    asks = "Type the database's name to go on: "
    argv = ["restore", "lost", "--checkpoint", gone, "--table", "prices"]
    before = jobs(stack)
    status, screen = at_terminal(stack, argv, [(asks, "team\n")])
    assert status == 2 and "nothing was done" in screen, screen
    assert 'database "lost_live" on a local socket' in screen and "last write" in screen and "puts back     prices" in screen, screen
    status, screen = at_terminal(stack, argv, [(asks, "\x03")])  # Ctrl-C
    assert status == -signal.SIGINT, screen
    status, screen = at_terminal(stack, [*argv[:-1], "pricse"], [(asks, "lost\n")])
    assert status == 2 and asks not in screen and "prices" in screen, screen
    assert jobs(stack) == before and not is_there(server)
    status, screen = at_terminal(stack, argv, [(asks, "lost\n")])
    assert status == 0 and "RESTORED" in screen and is_there(server), screen


def test_new_database(stack, server, gone):
    argv = ["--checkpoint", gone, "--new-database", "lost_back", "--yes-i-mean", "lost"]
    done = restore(stack, *argv, database="lost")
    assert done.returncode == 0 and "RESTORED" in done.stdout and "50" in done.stdout, done.stdout + done.stderr
    assert rows(server, "SELECT count(*) FROM prices", "lost_back") == [(50,)]
    again = restore(stack, *argv, database="lost")
    assert again.returncode not in (0, 1) and "lost_back" in again.stderr, again.stderr
    assert rows(server, "SELECT count(*) FROM prices", "lost_back") == [(50,)]


def test_choices(stack, server):
    """--column, --foreign-keys not-valid, --roles, --other-database, all of one checkpoint."""
    odd = new_database(stack, server, "odd", """
        CREATE TABLE buyers (id int PRIMARY KEY); CREATE TABLE sales (id int PRIMARY KEY, buyer int REFERENCES buyers, total int);
        INSERT INTO buyers SELECT generate_series(1, 5); INSERT INTO sales SELECT g, g, 100 FROM generate_series(1, 5) g;
        CREATE ROLE odd_role; GRANT SELECT ON sales TO odd_role""")
    of = ["--checkpoint", stack.seal("odd", "chosen")["id"]]

    odd("UPDATE sales SET total = 0 WHERE id < 4; UPDATE sales SET buyer = NULL WHERE id = 1")  # the first was written otherwise since
    done = restore(stack, *of, "--table", "sales", "--beside", "--column", "sales.total", "--json", database="odd")
    job = json.loads(done.stdout)
    assert "update 2 rows of public.sales" in job["report"]["script"], job
    assert restore(stack, "--run-script", job["id"], "--rows", "2", database="odd").returncode == 0
    assert rows(server, "SELECT array_agg(total ORDER BY id) FROM sales", "odd_live") == [([0, 100, 100, 100, 100],)]

    odd("INSERT INTO buyers VALUES (6); INSERT INTO sales VALUES (6, 6, 1); DROP TABLE buyers CASCADE")
    refused = restore(stack, *of, "--table", "buyers", database="odd")
    assert refused.returncode == 4 and "nothing was changed" in refused.stderr and "not_valid" in refused.stderr, refused.stderr
    done = restore(stack, *of, "--table", "buyers", "--foreign-keys", "not-valid", database="odd")
    assert "RESTORED" in done.stdout, done.stdout + done.stderr
    assert rows(server, "SELECT convalidated FROM pg_constraint WHERE conname = 'sales_buyer_fkey'", "odd_live") == [(False,)]
    assert rows(server, "SELECT count(*) FROM buyers", "odd_live") == [(5,)]

    odd("DROP OWNED BY odd_role; DROP ROLE odd_role")
    refused = restore(stack, *of, "--new-database", "odd_back", database="odd")
    assert refused.returncode == 1 and "odd_role" in refused.stderr, refused.stderr
    done = restore(stack, *of, "--new-database", "odd_back", "--roles", database="odd")
    assert done.returncode == 0 and "odd_role" in done.stdout, done.stdout + done.stderr
    assert rows(server, "SELECT has_table_privilege('odd_role', 'sales', 'SELECT')", "odd_back") == [(True,)]

    server.create("odd_other")
    (stack.dir / "databases" / "odd").write_text(server.conninfo("odd_other") + "\n")
    both = [*of, "--table", "buyers", "--table", "sales"]
    refused = restore(stack, *both, database="odd")
    assert refused.returncode == 4 and "odd_other" in refused.stderr, refused.stderr
    done = restore(stack, *both, "--other-database", database="odd")
    assert done.returncode == 0 and "RESTORED" in done.stdout, done.stdout + done.stderr
    assert rows(server, "SELECT count(*) FROM sales", "odd_other") == [(5,)]


def test_odd_names(stack, server):
    """Whatever PostgreSQL takes for a name: what a plan prints restores just that, through the shell and through the API."""
    odd = new_database(stack, server, "names", "CREATE TABLE public.ab (x int)")
    chosen = ['li"ne\nRESTORED', "tab\there", "a*", "\u202egnp", 'naïve "\\\\" \x1b[31m', "semi;colon, 'comma'", "."]
    schema = "s*\n"
    with psycopg2.connect(server.conninfo("names_live")) as c, c.cursor() as cursor:
        quoted = [f"{psycopg2.extensions.quote_ident(schema, c)}.{psycopg2.extensions.quote_ident(n, c)}" for n in chosen]
        cursor.execute(f"CREATE SCHEMA {quoted[0].split('.')[0]}; CREATE TABLE {quoted[0].split('.')[0]}.ab (x int)")
        for name in quoted:
            cursor.execute(f'CREATE TABLE {name} (x int PRIMARY KEY, "a\nb" text DEFAULT 1); INSERT INTO {name} SELECT generate_series(1, 9)')
    there = lambda: rows(server, f"SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = '{quoted[0].split('.')[0]}'::regnamespace ORDER BY oid", "names_live")
    of = ["--checkpoint", stack.seal("names", "odd")["id"]]
    for name in quoted:
        odd(f"DROP TABLE {name}")

    plan = stack.cli("plan", "names", *of, check=False)
    command = re.search(r"pgseal (restore names .*)", plan.stdout).group(1)
    assert command.count("--table") == len(chosen) and r'U&"s*\000A"."a*"' in command, plan.stdout
    assert not set(plan.stdout) & {"\x1b", "\t", "\u202e"} and "\nRESTORED" not in plan.stdout, plan.stdout
    shell = subprocess.run(["sh", "-c", f"{BIN / 'pgseal'} {command}"], env={**os.environ, "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token}, text=True,
                           capture_output=True, start_new_session=True)
    assert shell.returncode == 0, shell.stderr
    assert not set(shell.stdout + shell.stderr) & {"\x1b", "\t", "\u202e"} and "\nRESTORED" not in (shell.stdout + shell.stderr)[1:], shell.stdout
    assert r'U&"s*\000A".U&"li""ne\000ARESTORED": 9, verified' in shell.stdout, shell.stdout
    assert sorted(there()) == sorted([("ab",), *((n,) for n in chosen)])

    # In double quotes, as SQL has it: no glob among them means another table. And a row of it, beside.
    odd(f"DROP TABLE {quoted[0]}; DROP TABLE {quoted[2]}; UPDATE {quoted[1]} SET \"a\nb\" = 0")
    status, job, _ = stack.api("POST", "/api/v1/restores", {"database": "names", "mode": "in_place", "checkpoint": of[1], "tables": [quoted[0], quoted[2]]})
    assert status == 202, job
    job = wait_for("the restore", lambda: (j := stack.api("GET", f"/api/v1/jobs/{job['id']}")[1])["state"] not in ("queued", "leased", "running") and j)
    assert job["state"] == "done" and {t["name"] for t in job["report"]["tables"]} == {chosen[0], chosen[2]}, job
    done = restore(stack, *of, "--table", quoted[1], "--beside", "--column", f'{quoted[1]}.U&"a\\000Ab"', "--json", database="names")
    assert done.returncode == 0 and "update 9 rows" in json.loads(done.stdout)["report"]["script"], done.stdout + done.stderr
    assert restore(stack, "--run-script", json.loads(done.stdout)["id"], "--rows", "9", database="names").returncode == 0
    assert rows(server, f'SELECT DISTINCT "a\nb" FROM {quoted[1]}', "names_live") == [("1",)]
    near = restore(stack, *of, "--table", '"li""ne\nRESTOERD"', database="names")
    assert near.returncode == 2 and r'U&"li""ne\000ARESTORED"' in near.stderr and "\nREST" not in near.stderr, near.stderr


def test_interrupted(stack, server, gone):
    """Ctrl-C in the middle, while it waits for a lock: rolled back, and it says so."""
    env = {**os.environ, "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token}
    argv = [BIN / "pgseal", "restore", "lost", "--checkpoint", gone, "--table", "prices", "--replace", "--yes-i-mean", "lost"]
    waits = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'pgseal-%' AND wait_event_type = 'Lock' AND datname = 'lost_live'"
    was_there = is_there(server)
    with psycopg2.connect(server.conninfo("lost_live")) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE other IN ROW EXCLUSIVE MODE")  # as a writer does
        process = subprocess.Popen(argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        wait_for("the restore to wait for the lock", lambda: rows(server, waits, "postgres"), every=0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 4 and "nothing was changed" in said and "canceled" in said, said
    assert is_there(server) == was_there
    assert rows(server, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pgseal%'", "lost_live") == []


def test_second_person(stack, server):
    team = new_database(stack, server, "team", "CREATE TABLE prices (id int PRIMARY KEY); INSERT INTO prices VALUES (1)")
    sealed = stack.seal("team", "priced")["id"]
    team("DROP TABLE prices")
    env = {**os.environ, "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token}

    def ask():
        process = subprocess.Popen([BIN / "pgseal", "restore", "team", "--checkpoint", sealed, "--table", "prices", "--yes-i-mean", "team"], env=env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        waits = lambda: [line.split()[0] for line in stack.cli("jobs", "--database", "team").stdout.splitlines() if "needs approval" in line]
        return process, wait_for("the job to wait", waits, every=0.3)[0]

    process, job = ask()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4 and "nothing was changed" in said and f"pgseal job approve {job}" in said, said
    process, job = ask()
    own = stack.cli("job", "approve", job, check=False)
    assert own.returncode != 0 and "forbidden" in own.stderr, own.stderr
    assert "second person" in stack.cli("job", "show", job).stdout
    assert "is approved" in stack.cli("job", "approve", job, "--token-file", stack.dir / "second").stdout
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0 and "RESTORED" in out, said
    assert "approved by second" in stack.cli("job", "show", job).stdout
    process, job = ask()
    assert "is being canceled" in stack.cli("job", "cancel", job).stdout
    process.communicate(timeout=60)
    assert process.returncode == 4

    # People who sign in by OpenID Connect: one is one, whatever he calls himself, and with whatever token he made.
    def person(sub, email):
        stack.issuer.person = {"sub": sub, "email": email, "email_verified": True, "groups": ["dba"]}
        guest = Guest(stack)
        assert guest.sign_in_by(stack.issuer)[2]
        return guest

    def change(guest, path, body):
        status, answer, _ = guest.ask("POST", path, body, X_Pgseal_CSRF=guest.who()["csrf"])
        return status, json.loads(answer)

    ann, ben = person("u-ann", "ann@example.com"), person("u-ben", "ben@example.com")
    own = change(ann, "/api/v1/tokens", {"name": "anns", "role": "operator"})[1]["token"]
    change(ann, "/api/v1/tokens", {"name": "maker", "role": "admin"})
    maker = change(ann, "/api/v1/tokens/maker/rotate", {"overlap": 0})[1]["token"]
    by_own = stack.api("POST", "/api/v1/tokens", {"name": "grandchild", "role": "operator"}, token=maker)[1]
    seen = change(ann, "/api/v1/tokens/second/rotate", {})[1]["token"]
    assert by_own["person"] == "ann@example.com" and stack.api("POST", "/api/v1/tokens", {"name": "nobodys"})[1]["person"] is None
    team("DROP TABLE prices")
    status, job = change(ann, "/api/v1/restores", {"database": "team", "checkpoint": sealed, "mode": "in_place", "tables": ["prices"], "confirm": "team"})
    assert status == 202 and job["approval"] == "needed" and job["requested_by"] == "ann@example.com", job
    approve = f"/api/v1/jobs/{job['id']}/approve"
    for who in (ann, person("u-ann", "ann@example.com"), person("u-ann", "second.ann@example.com")):
        status, answer = change(who, approve, {})
        assert status == 403 and answer["error"]["code"] == "forbidden" and "asked for by ann@example.com" in answer["error"]["message"], answer
    for token in (own, maker, by_own["token"], seen):
        status, answer, _ = stack.api("POST", approve, token=token)
        assert status == 403 and answer["error"]["code"] == "forbidden", answer
    assert stack.api("GET", f"/api/v1/jobs/{job['id']}")[1]["approval"] == "needed"
    # Somebody else whom the issuer now gives that address is somebody else, and by another name.
    heir = person("u-heir", "ann@example.com")
    assert heir.who()["name"].endswith(f"@127.0.0.1:{stack.issuer.server.server_port}")
    status, job = change(ben, approve, {})
    assert status == 200 and job["approved_by"] == "ben@example.com", job
    done = lambda: (lambda j: j if j["state"] in ("done", "failed", "errored") else None)(stack.api("GET", f"/api/v1/jobs/{job['id']}")[1])
    assert wait_for("the restore", done, every=0.3)["state"] == "done"
    assert rows(server, "SELECT id FROM prices", "team_live") == [(1,)]


@pytest.mark.long
@pytest.mark.parametrize("major", (13, 17))
def test_other_majors(make_stack, servers, engine, major):
    """Plans and every kind of restore on real servers of other major versions."""
    server = servers(major)
    server.create("shop")
    server.sql("shop", SCHEMA)
    options = "WITH ADMIN OPTION" if major < 16 else "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
    server.sql("postgres", f"CREATE ROLE team; CREATE ROLE app LOGIN CONNECTION LIMIT 7 SUPERUSER; GRANT team TO app {options}")
    server.sql("shop", "GRANT SELECT ON orders TO app")
    stack = make_stack({"shop": server.conninfo("shop")}, engine=engine, images={major: engine.image(major)}, agents=("dump+drill+restore",))
    of = ["--checkpoint", stack.seal("shop", "before")["id"]]
    content = rows(server, "SELECT * FROM orders ORDER BY id", "shop")
    server.sql("shop", "DROP TABLE orders CASCADE; DELETE FROM invoices WHERE NOT final; ALTER TABLE carts DROP at")
    plan = stack.cli("plan", "shop", "--rows", "invoices", "--json", check=False)
    report = json.loads(plan.stdout)["report"]
    assert plan.returncode == 5 and report["damage"] == "lost", plan.stderr
    assert {t["name"]: (t["state"], t.get("rows_missing")) for t in report["tables"] if t["lost"]} == {"orders": ("missing", None), "invoices": ("fewer", 2000)}
    forward = next(way["sql"] for way in report["ways"] if way["way"] == "roll_forward")
    server.sql("shop", ";".join(forward))
    done = restore(stack, *of, "--table", "orders")
    assert done.returncode == 0 and "RESTORED" in done.stdout, done.stdout + done.stderr
    assert rows(server, "SELECT * FROM orders ORDER BY id", "shop") == content
    assert rows(server, "SELECT count(*) FROM pg_constraint WHERE conname = 'payments_order_id_fkey' AND convalidated", "shop") == [(1,)]
    job = json.loads(restore(stack, *of, "--table", "invoices", "--beside", "--json").stdout)["id"]
    assert restore(stack, "--run-script", job, "--rows", "2000").returncode == 0
    assert rows(server, "SELECT count(*) FROM invoices", "shop") == [(3000,)]
    assert restore(stack, *of, "--table", "orders", "--replace").returncode == 0
    roles = "SELECT m.*, r.rolcanlogin, r.rolsuper, r.rolconnlimit FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid WHERE rolname = 'app'"
    roles = roles.replace("m.*", "admin_option" + (", inherit_option, set_option" if major >= 16 else ""))
    server.sql("shop", "DROP OWNED BY app; DROP SCHEMA IF EXISTS " + ", ".join(n for n, in rows(server, "SELECT nspname FROM pg_namespace WHERE nspname ~ '^pgseal_'", "shop")) + " CASCADE")
    server.sql("postgres", "DROP ROLE app, team")
    done = restore(stack, *of, "--new-database", "shop_back", "--roles")
    assert done.returncode == 0 and "Role app was made" in done.stdout, done.stdout + done.stderr
    assert rows(server, "SELECT * FROM orders ORDER BY id", "shop_back") == content
    assert rows(server, roles, "shop") == [(True, *((False, False) if major >= 16 else ()), True, False, 7)]
    server.sql("shop", "GRANT SELECT ON orders TO app")
    assert stack.cli("plan", "shop").returncode == 0
