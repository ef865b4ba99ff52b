"""kill -9 of anything, at random moments, again and again. PGSEAL_SEED repeats a run's choices, PGSEAL_KILLS sets its rounds:
make test-long has four runs of 30 beside each other, each with a seed of its own."""
import collections
import hashlib
import os
import random
import threading
import time
import urllib.error

import pytest

import judge
from support.fixtures import LONG
from support.shell import processes, run

FORBIDDEN = ("acknowledged request lost", "sealed without a proof", "undamaged checkpoint condemned", "error without a remedy",
             "process left", "container left", "file left", "ledger's chain broken")


class Loop:
    def __init__(self, stack, engine, choices):
        self.stack, self.engine, self.choices = stack, engine, choices
        self.kills, self.outcomes, self.errors = collections.Counter(), collections.Counter(), collections.Counter()
        self.forbidden = dict.fromkeys(FORBIDDEN, 0)
        self.notes = []  # what to look at when something forbidden happened
        self.open = []  # acknowledged, and not seen at their end yet
        self.asked = 0

    # ---- requests ----------------------------------------------------------------------------------

    def ask(self, key):
        """The id; raises if nobody answers."""
        status, body, _ = self.stack.api("POST", "/api/v1/checkpoints", {"database": "shop", "tag": f"round-{key}", "wait": False},
                                         headers={"Idempotency-Key": key}, timeout=20)
        assert status == 202, (status, body)
        return body["id"]

    def request(self):
        self.asked += 1
        self.open.append(self.ask(f"request-{self.asked}"))

    def request_cut(self):
        """The coordinator is killed while it is asked. What it acknowledged it keeps; what it did not is asked again."""
        self.asked += 1
        key, answer = f"request-{self.asked}", []

        def ask():
            try:
                answer.append(self.ask(key))
            except (urllib.error.URLError, OSError):
                pass
        client = threading.Thread(target=ask)
        client.start()
        time.sleep(self.choices.uniform(0, 0.02))
        self.stack.kill("coordinator")
        client.join()
        self.stack.start_coordinator()
        again = self.ask(key)
        if answer and answer != [again]:
            self.forbid("acknowledged request lost", f"{answer[0]} was acknowledged, and {again} is what its key says")
        self.open.append(again)
        return True

    # ---- kills -------------------------------------------------------------------------------------

    def daemon(self, name):
        self.stack.kill(name)
        time.sleep(self.choices.choice((0, 0, 0.5, 2)))
        self.stack.start_coordinator() if name == "coordinator" else self.stack.start_agent(name)
        return True

    def everything(self):
        """As if the machine had lost its power, but for what the kernel keeps."""
        names = ["coordinator", "dump", "drill"]
        self.choices.shuffle(names)
        for name in names:
            self.stack.kill(name)
        self.stack.start_coordinator()
        for name in ("dump", "drill"):
            self.stack.start_agent(name)
        return True

    def child(self):
        mine = str(self.stack.dir)
        found = [pid for pid, argv in processes() if argv[:2] == ["pgseal-agent", "job"] and mine in " ".join(argv)]
        return self.kill_one(found)

    def tool(self):
        """pg_dump or pg_restore: a child of a job's."""
        mine = str(self.stack.dir)
        jobs = {pid for pid, argv in processes() if argv[:2] == ["pgseal-agent", "job"] and mine in " ".join(argv)}
        return self.kill_one([pid for pid, _ in processes() if parent(pid) in jobs])

    def kill_one(self, pids):
        if not pids:
            return False
        try:
            os.kill(self.choices.choice(pids), 9)
        except ProcessLookupError:
            return False
        return True

    def container(self):
        found = self.engine.containers()
        return bool(found) and run(self.engine._podman("kill", "-s", "KILL", self.choices.choice(found)), check=False).returncode == 0

    def kill(self):
        what = self.choices.choice(("coordinator", "coordinator in mid-request", "dump agent", "drill agent", "job", "job", "tool",
                                    "container", "container", "everything"))
        done = {"coordinator": lambda: self.daemon("coordinator"), "coordinator in mid-request": self.request_cut,
                "dump agent": lambda: self.daemon("dump"), "drill agent": lambda: self.daemon("drill"), "job": self.child,
                "tool": self.tool, "container": self.container, "everything": self.everything}[what]()
        self.kills[what] += done
        return done

    # ---- the verdict -------------------------------------------------------------------------------

    def forbid(self, what, note):
        self.forbidden[what] += 1
        self.notes.append(f"{what}: {note}")

    def settle(self):
        for identity in self.open:
            self.judge(identity)
        self.open = []
        try:
            self.stack.assert_clean(60)
        except AssertionError:
            for left in self.stack.leftovers():
                kind = left.split()[0] if left.split()[0] in ("process", "container") else "file"
                self.forbid(f"{kind} left", left)
        if self.stack.api("GET", "/api/v1/ledger/verify")[1]["ok"] is not True:
            self.forbid("ledger's chain broken", "")

    def judge(self, identity):
        status = self.stack.api("GET", f"/api/v1/checkpoints/{identity}")[0]
        if status != 200:
            return self.forbid("acknowledged request lost", f"{identity}: {status}")
        try:
            shown = self.stack.wait_final(identity, timeout=240)
        except AssertionError:
            return self.forbid("acknowledged request lost", f"{identity} never ends: {self.stack.show(identity)}")
        self.outcomes[shown["state"]] += 1
        if shown["state"] == "sealed":
            files = [p for n, p in self.stack.objects(shown).items() if n.startswith("proofs/") and n.endswith(".cms")]
            if shown["proof_sha256"] not in [hashlib.sha256(p.read_bytes()).hexdigest() for p in files] or \
                    "proven" not in [p["outcome"] for p in judge.proofs(self.stack, shown)]:
                self.forbid("sealed without a proof", identity)
        elif shown["state"] == "errored":
            self.errors[shown["error"]["code"]] += 1
            if not (shown["error"]["message"] and shown["error"]["remedy"]):
                self.forbid("error without a remedy", f"{identity}: {shown['error']}")
        else:
            self.forbid("undamaged checkpoint condemned", f"{identity}: {shown['state']} {shown['error']}")

    def told(self, seed):
        def counts(of):
            return ", ".join(f"{count} {what}" for what, count in sorted(of.items()) if count) or "none"
        return (f"seed {seed}; {sum(self.kills.values())} kills ({counts(self.kills)}); {self.asked} checkpoints ({counts(self.outcomes)}"
                f"{'; errors: ' + counts(self.errors) if self.errors else ''}); forbidden: {sum(self.forbidden.values())} ("
                + ", ".join(f"{count} {what}" for what, count in self.forbidden.items()) + ")")


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


@pytest.fixture
def shop(server):
    server.create("alive")
    server.sql("alive", "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 60000) i")
    return {"shop": server.conninfo("alive")}


@pytest.mark.parametrize("nth", range(4 if LONG else 1))
def test_random_kills(make_stack, shop, engine, record_property, nth):
    seed = int(os.environ.get("PGSEAL_SEED") or random.SystemRandom().randrange(1 << 32)) + nth
    choices = random.Random(seed)
    stack = make_stack(shop, engine=engine, images={15: engine.image(15)}, agents=("dump", "drill"), segment_mb=1)
    loop = Loop(stack, engine, choices)
    began = time.monotonic()
    stack.seal("shop")
    period = time.monotonic() - began
    try:
        for _ in range(int(os.environ.get("PGSEAL_KILLS") or (30 if LONG else 4))):
            loop.request()
            time.sleep(choices.uniform(0, period))
            for _ in range(choices.choice((1, 1, 2))):
                while not loop.kill():
                    time.sleep(choices.uniform(0, period / 4))
            if len(loop.open) >= choices.choice((1, 2, 3)):
                loop.settle()
        loop.settle()
    finally:
        record_property("random kills", loop.told(seed))
    assert not any(loop.forbidden.values()), (loop.told(seed), loop.notes)
    assert loop.outcomes["sealed"], "most are sealed in the end"
