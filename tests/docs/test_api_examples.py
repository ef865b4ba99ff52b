"""docs/api.md: what its shell and CI examples do when something is in their way. That they work is test_pages.py's."""
import json
import os
import pathlib
import re
import subprocess
import tempfile

import pages
import pytest
import yaml

from support.shell import PROJECT, free_port, wait_for
from support.stack import Stack

PAGE = (PROJECT / "docs/api.md").read_text()
BLOCKS = {b.name: b.text for b in pages.page("docs/api.md").blocks if b.name}


@pytest.fixture(scope="module")
def api(base, server):
    server.create("docs_api")
    server.sql("docs_api", "CREATE TABLE item AS SELECT i, 'item '||i AS name FROM generate_series(1, 1000) i")
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", {"prod-api": server.conninfo("docs_api")},
              agents=("dump+drill",), lock_timeout_seconds=60, agent_wait_seconds=10).start()
    yield s
    s.remove()


def environment(stack, **more):
    return {"PATH": os.environ["PATH"], "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token, **more}


def bash(stack, script, *args, options="-c", **more):
    return subprocess.run(["bash", *options.split(), script, "example", *args], env=environment(stack, **more), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120)


def start(stack, script, *args, **more):
    return subprocess.Popen(["bash", "-c", script, "example", *args], env=environment(stack, **more), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def checkpoints(stack, tag):
    return stack.api("GET", f"/api/v1/checkpoints?tag={tag}")[1]["checkpoints"]


def test_every_example_is_run_here():
    assert set(BLOCKS) == {"blocking", "error", "github", "gitlab", "seal", "poll", "follow", "attention", "token"}


def test_blocking(api):
    done = bash(api, BLOCKS["blocking"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["restore_drill"] == "proven"
    assert bash(api, BLOCKS["blocking"], PGSEAL_TOKEN="wrong").returncode == 22
    away = bash(api, BLOCKS["blocking"], PGSEAL_URL=f"http://127.0.0.1:{free_port()}")
    assert away.returncode == 7 and not away.stdout



def github(stack, sha, run, attempt):
    """The step's script as the runner runs it: `bash -e`, with the expressions put in."""
    step = yaml.safe_load(BLOCKS["github"])["jobs"]["deploy"]["steps"][0]
    values = {"vars.PGSEAL_URL": stack.url, "secrets.PGSEAL_TOKEN": stack.token, "github.sha": sha, "github.run_id": run,
              "github.run_attempt": attempt}
    env = {k: re.sub(r"\$\{\{ (.*?) \}\}", lambda m: values[m.group(1)], v) for k, v in step["env"].items()}
    return bash(stack, step["run"], options="-e -c", **env)


def test_github(api):
    first, again, rerun = github(api, "4f3a", "77", "1"), github(api, "4f3a", "77", "1"), github(api, "4f3a", "77", "2")
    assert first.returncode == again.returncode == rerun.returncode == 0, first.stdout + first.stderr
    ids = [json.loads(done.stdout)["id"] for done in (first, again, rerun)]
    assert ids[0] == ids[1] != ids[2]
    assert len(checkpoints(api, "pre-deploy-4f3a")) == 2


def test_gitlab(api):
    job = yaml.safe_load(BLOCKS["gitlab"])["checkpoint"]
    for expected, token in ((0, api.token), (22, "wrong")):
        done = bash(api, "\n".join(job["script"]), options="-eo pipefail -c", CI_JOB_ID="9", CI_COMMIT_SHORT_SHA="4f3a9c1", PGSEAL_TOKEN=token)
        assert done.returncode == expected, done.stderr
    assert checkpoints(api, "pre-deploy-4f3a9c1")


def test_seal_says_how_it_ended(api, server):
    odd = "it's \"odd\" \\ ü"
    done = bash(api, BLOCKS["seal"], "prod-api", odd)
    assert done.returncode == 0 and json.loads(done.stdout)["tag"] == odd, done.stderr
    refused = bash(api, BLOCKS["seal"], "prod-apy", "x")
    assert refused.returncode == 3 and "prod-api" in refused.stderr and not refused.stdout
    away = bash(api, BLOCKS["seal"], "prod-api", "x", PGSEAL_URL=f"http://127.0.0.1:{free_port()}", PATIENCE="1")
    assert away.returncode == 3 and "last status 000" in away.stderr
    with server.locked("docs_api", "item") as waits:
        canceled = start(api, BLOCKS["seal"], "prod-api", "canceled")
        waits()
        assert api.api("POST", "/api/v1/checkpoints/canceled/cancel")[0] == 202
        assert canceled.wait(30) == 4
        canceled.communicate()


def test_seal_joins_again_after_a_restart(api, server):
    with server.locked("docs_api", "item") as waits:
        script = start(api, BLOCKS["seal"], "prod-api", "survivor")
        waits()
        api.kill("coordinator")
        api.start_coordinator()
    out, err = script.communicate(timeout=120)
    assert script.returncode == 0, err
    assert [c["id"] for c in checkpoints(api, "survivor")] == [json.loads(out)["id"]]


def test_a_client_that_goes_away_cancels_nothing(api, server):
    with server.locked("docs_api", "item") as waits:
        gone = bash(api, BLOCKS["blocking"].replace("curl ", "curl --max-time 3 ").replace("4f3a9c1", "gone"))
        assert gone.returncode == 28
        waits()
    assert api.wait_final(checkpoints(api, "pre-deploy-gone")[0]["id"])["state"] == "sealed"


def test_stopping_says_so(api, server):
    with server.locked("docs_api", "item") as waits:
        asked = start(api, BLOCKS["blocking"].replace("4f3a9c1", "stopped"))
        waits()
        assert api.kill("coordinator", 15) == 0
        out, _ = asked.communicate(timeout=30)
        api.start_coordinator()
    answer = json.loads(out)
    assert asked.returncode == 22 and answer["error"]["code"] == "unavailable" and "state" not in answer
    assert api.wait_final(answer["id"])["state"] == "sealed"




def test_follow(api, server):
    with server.locked("docs_api", "item"):
        identity = api.request("prod-api", "followed")
        follows = start(api, BLOCKS["follow"], identity)
        first = follows.stdout.readline()
    rest, said = follows.communicate(timeout=120)
    assert follows.returncode == 0, said
    lines = [first.rstrip("\n"), *rest.splitlines()]
    assert lines[0].startswith("it is ") and lines[-1] == "checkpoint.sealed" and "checkpoint.stored" in lines, lines
    assert any(re.match(r"  \w+: \d+ rows$", line) for line in lines), lines
    assert bash(api, BLOCKS["follow"], identity).stdout == "it is sealed\n"



def test_statuses_are_those_of_the_code():
    """Each status in the page's table is one that coordinator/api gives, and the other way round."""
    told = {int(s) for row in re.findall(r"^\| ((?:\d{3}(?:, )?)+) \|", PAGE, re.M) for s in row.split(", ")}
    names = {"OK": 200, "ACCEPTED": 202, "BAD_REQUEST": 400, "UNAUTHORIZED": 401, "FORBIDDEN": 403, "NOT_FOUND": 404, "CONFLICT": 409,
             "CONTENT_TOO_LARGE": 413, "UNPROCESSABLE_CONTENT": 422, "TOO_MANY_REQUESTS": 429, "SERVICE_UNAVAILABLE": 503,
             "INTERNAL_SERVER_ERROR": 500}
    source = "".join((PROJECT / "coordinator/api" / f).read_text() for f in ("respond.c", "checkpoints.c", "router.c"))
    given = set(re.findall(r"MHD_HTTP_([A-Z_]+)\b(?!\w)", source)) - {"METHOD_NOT_ALLOWED"}
    assert told == {names[n] for n in given}


def test_agent_waits_are_told_of(api):
    """What the page says of `no_agent`: errored, 503, and a new key is a new try."""
    api.kill("dump-drill", 15)
    try:
        status, body, _ = api.api("POST", "/api/checkpoint", {"database": "prod-api", "tag": "nobody"}, headers={"Idempotency-Key": "n1"})
        assert (status, body["state"], body["error"]["code"]) == (503, "errored", "no_agent"), body
        again = api.api("POST", "/api/checkpoint", {"database": "prod-api", "tag": "nobody"}, headers={"Idempotency-Key": "n1"})
        assert again[0] == 503 and again[1]["id"] == body["id"]
    finally:
        api.start_agent("dump-drill")
    status, other, _ = api.api("POST", "/api/checkpoint", {"database": "prod-api", "tag": "nobody"}, headers={"Idempotency-Key": "n2"})
    assert status == 200 and other["id"] != body["id"]
    wait_for("nothing left", lambda: not api.leftovers())
