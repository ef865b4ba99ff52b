"""Full disks: of the repository, of an agent, of a drill's cluster, of the coordinator's ledger."""
import pathlib

import pytest

import fleet
import judge
from support.shell import processes, wait_for

ROWS = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, {}) i"


def repository_full_for_good(world):
    stack = world.stack(world.database("disk_a", ROWS.format(200_000)), start=False)
    disk = world.disk(stack.repository, 1)
    stack.start()
    identity = stack.request("shop")
    yield
    shown = stack.wait_final(identity)
    judge.expect(stack, shown, "errored", "disk_full", "No space left", str(stack.repository), ".zst.cms")
    assert shown["manifest_sha256"] is None
    assert not list(disk.path.glob(".put-*")), "what could not be written is not left there"


def repository_full_until_space_is_made(world):
    """A dump waits a little for space, rather than to read everything again."""
    stack = world.stack(world.database("disk_b", ROWS.format(200_000)), start=False, segment_mb=1)
    disk = world.disk(stack.repository, 40)
    stack.start()
    disk.fill()
    identity = stack.request("shop")
    wait_for("a put to fail", lambda: "put failed, trying again" in stack.log("dump-drill") or stack.show(identity)["state"] in stack.FINAL)
    disk.free()
    yield
    shown = judge.sealed(stack, stack.wait_final(identity))
    assert judge.attempts(shown, "dump") == 1


def repository_full_when_the_proof_is_due(world):
    """Nothing is sealed without its proof in the repository; with space, a later drill seals it."""
    stack = world.stack(world.database("disk_c", ROWS.format(1000)), start=False, agents=("dump", "drill"), agent_wait_seconds=120)
    disk = world.disk(stack.repository, 8)
    stack.start_coordinator()
    stack.start_agent("dump")
    identity = stack.request("shop")
    wait_for("the dump", lambda: "checkpoint.stored" in judge.ledger_kinds(stack, stack.show(identity)))
    disk.fill()
    stack.start_agent("drill")
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "disk_full", "proofs/", "No space left", str(stack.repository))
    disk.free()
    assert stack.cli("drill", identity).returncode == 0
    judge.sealed(stack, stack.show(identity))


def agent_full(world):
    """No room for a job's scratch, nor for its result: told all the same."""
    stack = world.stack(world.database("disk_d", ROWS.format(1000)), start=False)
    disk = world.disk(stack.dir / "agent-dump-drill", 1)
    stack.start()
    disk.fill()
    identity = stack.request("shop")
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "disk_full", "No space left", str(disk.path))
    disk.free()
    judge.sealed(stack, judge.ask(stack))


def disks_are_told(world):
    """Before anything fails: what is left where an agent writes is told, and alerted of when it is little."""
    stack = world.stack(world.database("disk_h", ROWS.format(10)), start=False)
    disk = world.disk(stack.dir / "agent-dump-drill", 16)
    disk.fill()
    stack.start()
    told = lambda: next((d for d in (stack.api("GET", "/api/v1/agents")[1]["agents"][0]["machine"] or {"disks": []})["disks"] if "data" in d["places"]), None)
    alerts = lambda: [(a["condition"], a["subject"]) for a in stack.api("GET", "/api/v1/alerts")[1]["alerts"]]
    wait_for("what is left", lambda: told() and told()["total_bytes"] == 16 << 20 and told()["free_bytes"] == 0, every=0.3)
    wait_for("the alert", lambda: ("agent_disk_low", "dump-drill") in alerts(), every=0.3)
    line = next(l for l in stack.cli("agents").stdout.splitlines() if l.startswith("dump-drill"))
    assert "data 0 B (0 %)" in line and "0/4" in line, line
    assert 'pgseal_agent_disk_free_bytes{agent="dump-drill",place="data"} 0\n' in stack.api("GET", "/metrics")[1]
    disk.free()
    yield
    wait_for("space", lambda: told()["free_bytes"] > 15 << 20, every=0.3)
    wait_for("the alert to be over", lambda: ("agent_disk_low", "dump-drill") not in alerts(), every=0.3)


def drill_that_cannot_fit(world):
    """A disk with less room than the checkpoint takes in the repository: said before a cluster is made there."""
    stack = world.stack(world.database("disk_i", ROWS.format(400_000)), agents=("dump", "drill"), start=False)
    stack.start_coordinator()
    stack.start_agent("dump")
    identity = stack.request("shop")
    wait_for("the dump", lambda: "checkpoint.stored" in judge.ledger_kinds(stack, stack.show(identity)))
    stack.options["wrap_agent"] = private_var_tmp(world, 4)
    stack.start_agent("drill")
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "disk_full", "cannot fit", "/var/tmp has room for", "in the repository")


def private_var_tmp(world, megabytes):
    """Where a local cluster of an agent that runs as root lives, as a small disk that this agent alone sees."""
    return ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size={megabytes}m,mode=1777 pgseal-test /var/tmp && exec "$@"', "sh"]


def cluster_full_when_made(world):
    stack = world.stack(world.database("disk_e", ROWS.format(1000)), wrap_agent=private_var_tmp(world, 16))
    identity = stack.request("shop")
    yield
    judge.expect(stack, stack.wait_final(identity), "errored", "disk_full", "No space left", "/var/tmp/pgseal-")
    left_inside(stack)


def cluster_full_in_mid_restore(world):
    stack = world.stack(world.database("disk_f", ROWS.format(400_000)), wrap_agent=private_var_tmp(world, 64))
    identity = stack.request("shop")
    yield
    shown = stack.wait_final(identity)
    judge.expect(stack, shown, "errored", "disk_full", "No space left", "/var/tmp/pgseal-")
    assert shown["manifest_sha256"], "it is stored all the same, and a later drill may seal it"
    left_inside(stack)


def left_inside(stack):
    agent = [pid for pid, argv in processes() if argv and argv[0].endswith("pgseal-agent") and str(stack.dir) in " ".join(argv)]
    assert [list(pathlib.Path(f"/proc/{pid}/root/var/tmp").iterdir()) for pid in agent] == [[]]


def ledger_full(world):
    """No request is acknowledged that is not in the ledger; what was acknowledged stays, and goes on once there is space."""
    stack = world.stack(world.database("disk_g", ROWS.format(1000)), start=False, ledger="ledger/ledger.db", lock_timeout_seconds=120)
    disk = world.disk(stack.dir / "ledger", 4)
    stack.start()
    lock = world.locked("disk_g", "t")
    asked = [stack.request("shop", "before")]
    lock.wait()
    disk.fill()
    refused = None
    while refused is None:  # what the ledger's file has room for, it takes
        status, body, _ = stack.api("POST", "/api/v1/checkpoints", {"database": "shop", "tag": f"full-{len(asked)}", "wait": False})
        if status == 202:
            asked.append(body["id"])
        else:
            refused = status, body
        assert len(asked) < 60
    status, body = refused
    error = body["error"]
    assert (status, error["code"]) == (503, "disk_full"), refused
    assert str(disk.path) in error["message"] + error["remedy"] and "space" in error["remedy"], error
    assert sorted(c["id"] for c in stack.api("GET", "/api/v1/checkpoints?limit=100")[1]["checkpoints"]) == sorted(asked)
    assert "disk_full" in str(stack.cli("checkpoint", "shop", "--tag", "x", check=False))
    lock.close()  # the dump's result is due now, and cannot be taken
    yield
    wait_for("the coordinator to fail to write", lambda: stack.log("coordinator").count("No space left") + stack.log("coordinator").count("disk is full") > 2)
    stack.kill("coordinator")  # the worst moment for it
    disk.free()
    stack.start_coordinator()
    for identity in asked:
        judge.sealed(stack, stack.wait_final(identity))
    assert {c["id"] for c in stack.api("GET", "/api/v1/checkpoints?limit=100")[1]["checkpoints"]} == set(asked)


SCENARIOS = {f.__name__: f for f in (
    disks_are_told, drill_that_cannot_fit,
    repository_full_until_space_is_made, repository_full_when_the_proof_is_due, agent_full, ledger_full,
    cluster_full_when_made, cluster_full_in_mid_restore, repository_full_for_good)}


@pytest.fixture(scope="module")
def begun(base, server, request):
    with fleet.scenarios(base, server, request, SCENARIOS) as scenarios:
        yield scenarios


@pytest.mark.parametrize("what", SCENARIOS)
def test_full(begun, what):
    begun[what].finish()
