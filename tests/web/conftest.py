"""What the dashboard's tests share: a browser, a fleet of 2,000 databases with one bad one, and a shop with odd names."""
import json
import os
import pathlib
import sqlite3
import tempfile

import pytest

from browser import Browser
from support.shell import wait_for
from support.stack import Stack

SHOTS = os.environ.get("PGSEAL_SHOTS")  # a directory: pictures of what the tests saw are put there
FLEET, BAD = 2000, "prod-orders-0913"


def shoot(page, name, whole=False):
    if SHOTS:
        page.shot(pathlib.Path(SHOTS) / f"{name}.png", whole)


@pytest.fixture(scope="session")
def browser():
    with Browser() as b:
        yield b


@pytest.fixture
def page(browser):
    with browser.page() as p:
        yield p


def names():
    kinds = ("orders", "users", "billing", "search", "audit", "media", "stock", "mail")
    return [f"{('prod', 'stage', 'test')[i % 3]}-{kinds[i % len(kinds)]}-{i:04d}" for i in range(FLEET - 1)] + [BAD]


def copy_rows(stack, seed):
    """Checkpoints of the whole fleet: as many copies of the rows of a real one, some days apart, in the ledger's file.
    Events are chained and are not copied; what is shown of a database is not made of them."""
    ledger = sqlite3.connect(stack.dir / "ledger.db")
    columns = [c[1] for c in ledger.execute("PRAGMA table_info(checkpoint)") if c[1] != "number"]
    jobs = [c[1] for c in ledger.execute("PRAGMA table_info(job)") if c[1] != "number"]
    row = dict(zip(columns, ledger.execute(f"SELECT {', '.join(columns)} FROM checkpoint WHERE id = ?", (seed,)).fetchone()))
    of = [dict(zip(jobs, j)) for j in ledger.execute(f"SELECT {', '.join(jobs)} FROM job WHERE checkpoint_id = ?", (seed,))]
    day = 86400 * 10**6
    for age in (5, 4, 3, 2, 1, 0):
        for i, name in enumerate(n for n in stack.databases if n != BAD or age):
            shift = age * day + (i % 997) * 60 * 10**6
            wave = 1 + 0.02 * (5 - age) + 0.05 * ((i * 7 + age * 3) % 5)
            id = f"{age}{i:06d}".rjust(26, "0")
            c = {**row, "id": id, "database": name, "tag": f"nightly-{6 - age}", "size_bytes": int(row["size_bytes"] * wave * (1 + i % 13)),
                 "rows": row["rows"] * (1 + i % 13), "seconds": row["seconds"] * wave, "idempotency_key": None}
            detail = json.loads(c["detail"])
            detail["proven_us"] = detail.get("proven_us", 0) - shift
            c["detail"] = json.dumps(detail)
            for key in c:
                if key.endswith("_us") and c[key] and key not in ("pinned_us", "pruning_us", "pruned_us", "locked_until_us"):
                    c[key] -= shift
            ledger.execute(f"INSERT INTO checkpoint ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", [c[k] for k in columns])
            for k, j in enumerate(of):
                j = {**j, "id": f"{age}{k}{i:06d}".rjust(26, "0"), "checkpoint_id": id, "database": name}
                for key in ("created_us", "started_us", "finished_us"):
                    j[key] -= shift
                ledger.execute(f"INSERT INTO job ({', '.join(jobs)}) VALUES ({', '.join('?' * len(jobs))})", [j[k] for k in jobs])
    ledger.commit()
    ledger.close()


@pytest.fixture(scope="session")
def fleet(base, server):
    server.create("web_fleet")
    server.sql("web_fleet", "CREATE TABLE item AS SELECT i, md5(i::text) AS name FROM generate_series(1, 5000) i")
    conninfo = server.conninfo("web_fleet")
    # It dumps, and does not restore: a row points at one that is not there.
    server.create("web_bad")
    server.sql("web_bad", """CREATE TABLE customer (id int PRIMARY KEY); CREATE TABLE invoice (id int PRIMARY KEY, customer int REFERENCES customer);
        INSERT INTO customer VALUES (1); ALTER TABLE invoice DISABLE TRIGGER ALL; INSERT INTO invoice VALUES (1, 1), (2, 4711); ALTER TABLE invoice ENABLE TRIGGER ALL""")
    each = {n: {"environment": {"prod": "production", "stage": "staging"}.get(n.split("-")[0], "test")} for n in names()}
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p",
              {n: server.conninfo("web_bad") if n == BAD else conninfo for n in names()}, each=each,
              http_limits={"requests_per_second": 2000}).start()
    seed = s.seal(names()[0], "seed")["id"]
    s.kill("coordinator", 15)
    copy_rows(s, seed)
    s.start_coordinator()
    wait_for("the agent", lambda: s.api("GET", "/api/v1/agents")[1]["agents"][0]["live"], every=0.3)
    status, body = s.checkpoint(BAD, "nightly")
    assert body["state"] == "failed" and body["restore_drill"] == "failed", body
    yield s
    s.remove()


@pytest.fixture(scope="session")
def shop(base, server):
    server.create("web_shop")
    server.sql("web_shop", f"""CREATE TABLE orders (id int PRIMARY KEY, note text);
        INSERT INTO orders SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 400000) i;
        CREATE TABLE "<img src=x onerror=alert(1)>" (a int); CREATE TABLE "li,ne\n" (a int PRIMARY KEY)""")
    conninfo = server.conninfo("web_shop")
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p",
              {"prod-shop": conninfo, "odd": server.conninfo("no'<b>such</b>"), "guarded": conninfo},
              agents=("dump+drill", "restore"),
              each={"prod-shop": {"environment": "production", "lock_timeout_seconds": 60}, "guarded": {"restore_approval": True}}).start()
    yield s
    s.remove()


@pytest.fixture(scope="session")
def shown(shop, server):
    """Of each kind of thing there is to look at, one: ids by name."""
    def ended(kind, of, body):
        status, job, _ = shop.api("POST", f"/api/v1/{kind}", body)
        assert status in (200, 202), job
        wait_for(of, lambda: shop.api("GET", f"/api/v1/jobs/{job['id']}")[1]["state"] in ("done", "failed", "errored"), every=0.3)
        return job["id"]

    sealed = shop.seal("prod-shop", "to-be-looked-at")["id"]
    shop.seal("guarded", "to-be-guarded")
    errored = shop.checkpoint("odd", "<b>bold</b>")[1]["id"]
    server.sql("web_shop", "DELETE FROM orders WHERE id <= 5")
    plan = ended("plans", "the plan", {"database": "prod-shop"})
    done = ended("restores", "the restore", {"database": "prod-shop", "mode": "beside", "tables": ["orders"], "confirm": "prod-shop"})
    refused = ended("restores", "the refused restore", {"database": "prod-shop", "mode": "in_place", "tables": ["nothing_like_it"], "confirm": "prod-shop"})
    waiting = shop.api("POST", "/api/v1/restores", {"database": "guarded", "mode": "beside", "tables": ["orders"], "confirm": "guarded"})[1]["id"]
    tokens = {role: shop.api("POST", "/api/v1/tokens", {"name": f"looks-{role}", "role": role})[1]["token"] for role in ("viewer", "ci", "operator")}
    return {"sealed": sealed, "errored": errored, "plan": plan, "done": done, "refused": refused, "waiting": waiting,
            "tokens": {**tokens, "admin": shop.token}}
