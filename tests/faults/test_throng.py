"""Many requests at once, and several of one database."""
import contextlib
import threading
import time

import pytest

import judge
from test_random_kills import parent
from support.shell import processes

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 2000) i"
SLOTS = {"dump": 2, "drill": 2}
CONNECTIONS = 2


class Watch:
    """Looks, again and again, at what runs, and keeps the most of everything."""

    def __init__(self, stack, server, databases):
        self.stack, self.server, self.databases = stack, server, databases
        self.jobs = self.looks = 0
        self.connections = dict.fromkeys(databases, 0)
        self.dumps = dict.fromkeys(databases, 0)
        self.failure, self.over = None, False

    def look(self, cursor):
        mine = str(self.stack.dir)
        jobs = {pid for pid, argv in processes() if argv[:2] == ["pgseal-agent", "job"] and mine in " ".join(argv)}
        self.jobs = max(self.jobs, sum(parent(pid) not in jobs for pid in jobs))  # a child of theirs looks like them until its exec
        cursor.execute("SELECT datname, count(*), count(*) FILTER (WHERE application_name = 'pg_dump') FROM pg_stat_activity "
                       "WHERE application_name <> 'watch' AND backend_type = 'client backend' GROUP BY 1")
        for name, count, dumps in cursor.fetchall():
            if name in self.connections:
                self.connections[name] = max(self.connections[name], count)
                self.dumps[name] = max(self.dumps[name], dumps)
        self.looks += 1

    def run(self):
        try:
            with contextlib.closing(self.server.connect("postgres", application_name="watch")) as connection:
                cursor = connection.cursor()
                while not self.over:
                    self.look(cursor)
                    time.sleep(0.05)
        except Exception as e:  # to the main thread
            self.failure = e

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        assert not self.failure, self.failure
        assert self.looks > 20


@pytest.mark.parametrize("count", [9, pytest.param(30, marks=pytest.mark.long)])
def test_queued_at_once(make_stack, server, count):
    """All end sealed, each database's in the order of asking, within the agent's slots and the databases' connections."""
    names = [f"throng_{i}" for i in range(3)]
    for name in names:
        server.create(name)
        server.sql(name, TABLE)
    stack = make_stack({name: server.conninfo(name) for name in names}, slots=SLOTS, connections=CONNECTIONS, lease_seconds=15)
    with Watch(stack, server, names) as watch:
        asked = [stack.request(names[i % 3], f"number-{i}") for i in range(count)]
        shown = [stack.wait_final(identity) for identity in asked]
    for one in shown:
        assert one["state"] == "sealed" and one["restore_drill"] == "proven", (one["state"], one["error"])
        assert [j["attempt"] for j in one["jobs"]] == [1, 1], one["jobs"]
    stored = order_of(stack, "checkpoint.stored")
    assert sorted(stored) == sorted(asked)
    for i in range(3):
        assert [c for c in stored if c in asked[i::3]] == asked[i::3], "one database's are dumped in the order of asking"
    assert watch.jobs <= sum(SLOTS.values()) + 1, watch.jobs  # one may be ending while the next begins
    assert max(watch.dumps.values()) == 1, f"never two dumps of one database at once: {watch.dumps}"
    # those of the budget, pg_dump's, and for a moment pg_dumpall's
    assert max(watch.connections.values()) <= CONNECTIONS + 2, watch.connections
    judge.intact(stack)


def order_of(stack, kind):
    """Ids in the ledger's order."""
    found, after = [], 0
    while True:
        events = stack.api("GET", f"/api/v1/ledger?after={after}&limit=200")[1]["events"]
        if not events:
            return found
        found += [e["checkpoint_id"] for e in events if e["kind"] == kind]
        after = events[-1]["sequence"]


def test_two_of_one_database(make_stack, server):
    """The second waits for the first, and each copies what its own snapshot held."""
    server.create("twice")
    server.sql("twice", TABLE)
    stack = make_stack({"shop": server.conninfo("twice")}, slots=SLOTS, lock_timeout_seconds=60)
    with server.locked("twice", "t") as wait_for_dump:
        one, two = stack.request("shop", "one"), stack.request("shop", "two")
        wait_for_dump()
        assert stack.show(two)["state"] == "requested"
    first = judge.sealed(stack, stack.wait_final(one))
    second = judge.sealed(stack, stack.wait_final(two))
    assert first["prefix"] != second["prefix"] and first["manifest_sha256"] != second["manifest_sha256"]
    assert order_of(stack, "checkpoint.stored") == [one, two]


def test_one_waits_and_others_pass(make_stack, server):
    """A database that stands still holds up itself alone."""
    for name in ("still", "moving"):
        server.create(name)
        server.sql(name, TABLE)
    stack = make_stack({"still": server.conninfo("still"), "moving": server.conninfo("moving")}, slots=SLOTS, lock_timeout_seconds=120)
    with server.locked("still", "t") as wait_for_dump:
        waiting = [stack.request("still", f"number-{i}") for i in range(3)]
        wait_for_dump()
        for i in range(2):
            judge_only_sealed(stack, stack.request("moving", f"number-{i}"))
        assert [stack.show(identity)["state"] for identity in waiting][1:] == ["requested"] * 2
    for identity in waiting:
        judge_only_sealed(stack, identity)
    judge.intact(stack)


def judge_only_sealed(stack, identity):
    shown = stack.wait_final(identity)
    assert shown["state"] == "sealed" and shown["restore_drill"] == "proven", (shown["state"], shown["error"])
