"""deploy/ci: what a pipeline runs, run as the pipeline does, against a running pgseal. (No GitHub, GitLab or Kubernetes here: their
runners' part is small, and is played.)"""
import os
import pathlib
import re
import subprocess
import tempfile

import pytest
import yaml

from support.shell import PROJECT, free_port
from support.stack import Stack

CI = PROJECT / "deploy/ci"


@pytest.fixture(scope="module")
def ci(base, server):
    server.create("ci")
    server.sql("ci", "CREATE TABLE item AS SELECT i, 'item '||i AS name FROM generate_series(1, 1000) i")
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", {"prod-api": server.conninfo("ci")}).start()
    yield s
    s.remove()


def run(argv, stack, **more):
    env = {"PATH": os.environ["PATH"], "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token, **more}
    return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def outputs(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def test_checkpoint(ci):
    odd = "it's \"odd\" \\ ü \",\"state\":\"failed"
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for shell, trace in (("dash", parent), ("bash", parent + '"\nurl = "file:///etc/passwd')):
        done = run([shell, CI / "pgseal-ci", "checkpoint", "prod-api", odd], ci, TRACEPARENT=trace)
        assert done.returncode == 0, done.stderr
        said = outputs(done.stdout)
        assert said["state"] == "sealed" and said["restore_drill"] == "proven" and said["tables"] == "1" and said["rows"] == "1000"
        assert said["tag"] == odd and ci.show(said["id"])["tag"] == odd
        assert ci.show(said["id"])["detail"].get("traceparent") == (trace if trace == parent else None)
        assert "sealed: 1 tables, 1000 rows" in done.stderr and ci.token not in done.stderr + done.stdout


def test_the_same_key_joins(ci):
    ids = [outputs(run([CI / "pgseal-ci", "checkpoint", "prod-api", "joined"], ci, PGSEAL_KEY=key).stdout)["id"] for key in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]


def test_token_file_and_arguments(ci):
    """The token is in no argument of any process, and may come from a file."""
    token = ci.dir / "token"
    shim = pathlib.Path(tempfile.mkdtemp(dir=ci.dir)) / "curl"
    shim.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>{shim}.log\nexec {subprocess.getoutput('command -v curl')} \"$@\"\n")
    shim.chmod(0o755)
    done = run([CI / "pgseal-ci", "checkpoint", "prod-api", "quiet"], ci, PGSEAL_TOKEN="", PGSEAL_TOKEN_FILE=str(token),
               PATH=f"{shim.parent}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    said = pathlib.Path(f"{shim}.log").read_text()
    assert "prod-api" in said and ci.token not in said


def test_refusals(ci):
    wrong = run([CI / "pgseal-ci", "checkpoint", "prod-apy", "x"], ci)
    assert wrong.returncode == 3 and "did you mean prod-api" in wrong.stderr and not wrong.stdout
    denied = run([CI / "pgseal-ci", "checkpoint", "prod-api", "x"], ci, PGSEAL_TOKEN="pgseal_wrong")
    assert denied.returncode == 3 and "401" in denied.stderr
    away = run([CI / "pgseal-ci", "checkpoint", "prod-api", "x"], ci, PGSEAL_URL=f"http://127.0.0.1:{free_port()}", PGSEAL_TIMEOUT="1")
    assert away.returncode == 3 and "no answer from" in away.stderr
    for argv, env in ((["checkpoint", "prod-api"], {}), (["checkpoint", "prod-api", "x"], {"PGSEAL_URL": ""}),
                      (["checkpoint", "prod-api", "x"], {"PGSEAL_URL": ci.url.replace("127.0.0.1", "0.0.0.0")}),
                      (["checkpoint", "prod-api", "x"], {"PGSEAL_URL": "http://127.0.0.1.example.com"}),
                      (["checkpoint", "prod-api", "x"], {"PGSEAL_TOKEN": "a\"\nurl = \"http://x"}), (["seal"], {})):
        assert run([CI / "pgseal-ci", *argv], ci, **env).returncode == 2
    meant = run([CI / "pgseal-ci", "checkpoint", "prod-apy", "x"], ci, PGSEAL_URL=ci.url.replace("127.0.0.1", "0.0.0.0"), PGSEAL_UNENCRYPTED="1")
    assert meant.returncode == 3 and "did you mean prod-api" in meant.stderr
    assert run([CI / "pgseal-ci", "--help"], ci).stdout.startswith("pgseal in a pipeline")


def test_not_in_time_and_canceled(ci, server):
    with server.locked("ci", "item") as waits:
        late = run([CI / "pgseal-ci", "checkpoint", "prod-api", "late"], ci, PGSEAL_KEY="late", PGSEAL_TIMEOUT="3")
        assert late.returncode == 4 and "it goes on" in late.stderr and not late.stdout
        waits()
        assert ci.api("POST", "/api/v1/checkpoints/late/cancel")[0] == 202
        done = run([CI / "pgseal-ci", "checkpoint", "prod-api", "late"], ci, PGSEAL_KEY="late")
    assert done.returncode == 4 and outputs(done.stdout)["state"] == "canceled" and "canceled" in done.stderr


def github(stack, inputs, **contexts):
    """The action's one step as a runner runs it; what it did, its outputs and its summary."""
    action = yaml.safe_load((CI / "github/action.yml").read_text())
    values = {f"inputs.{k}": v for k, v in ({k: i.get("default", "") for k, i in action["inputs"].items()} | inputs).items()}
    values |= {"github.action_path": str(CI / "github"), "github.repository": "acme/shop", "github.job": "deploy", **contexts}

    def put_in(text):
        while "${{" in text:
            text = re.sub(r"\$\{\{ (.*?) \}\}", lambda m: values[m.group(1)], text)
        return text
    step, = action["runs"]["steps"]
    out, summary = (pathlib.Path(tempfile.mkstemp(dir=stack.dir)[1]) for _ in range(2))
    done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", put_in(step["run"])], stdin=subprocess.DEVNULL,
                          env={"PATH": os.environ["PATH"], "GITHUB_OUTPUT": str(out), "GITHUB_STEP_SUMMARY": str(summary),
                               **{k: put_in(v) for k, v in step["env"].items()}}, capture_output=True, text=True, timeout=60)
    told = {name: outputs(out.read_text()).get(re.search(r"outputs\.(\w+)", o["value"]).group(1)) for name, o in action["outputs"].items()}
    return done, told, summary.read_text()


def test_github(ci):
    inputs = {"url": ci.url, "token": ci.token, "database": "prod-api"}
    first, again, rerun = (github(ci, inputs, **{"github.sha": "4f3a", "github.run_id": "77", "github.run_attempt": n}) for n in "112")
    for done, told, summary in (first, again, rerun):
        assert done.returncode == 0, done.stderr
        assert told["state"] == "sealed" and told["restore-drill"] == "proven" and told["rows"] == "1000" and told["size"]
        assert "| pre-deploy-4f3a | 1 | 1000 |" in summary and "**proven**" in summary
    assert first[1]["id"] == again[1]["id"] != rerun[1]["id"]
    done, told, summary = github(ci, inputs | {"database": "prod-apy"}, **{"github.sha": "4f3a", "github.run_id": "78", "github.run_attempt": "1"})
    assert done.returncode == 3 and "::error title=pgseal::" in done.stdout and "**not** sealed" in summary and told["id"] is None


def test_gitlab(ci):
    job = yaml.safe_load((CI / "gitlab.yml").read_text())[".pgseal-checkpoint"]
    for expected, token in ((0, ci.token), (3, "wrong")):
        with tempfile.TemporaryDirectory() as place:
            (pathlib.Path(place) / "deploy").symlink_to(PROJECT / "deploy")
            done = subprocess.run(["bash", "-eo", "pipefail", "-c", "\n".join(job["script"])], cwd=place, capture_output=True, text=True,
                                  timeout=120, env={"PATH": os.environ["PATH"], "PGSEAL_URL": ci.url, "PGSEAL_TOKEN": token,
                                                    "PGSEAL_CI": "deploy/ci/pgseal-ci", "PGSEAL_DATABASE": "prod-api", "PGSEAL_TAG": "gl",
                                                    "PGSEAL_KEY": "gitlab-9"})
            assert done.returncode == expected, done.stderr
            if expected == 0:
                assert "PGSEAL_restore_drill=proven" in (pathlib.Path(place) / "pgseal.env").read_text()


def test_kubernetes(ci):
    """The template with its few expressions put in is YAML, and its container's command seals."""
    values = {".Values.pgseal.url": ci.url, ".Values.pgseal.database": "prod-api", ".Values.pgseal.timeoutSeconds": "600",
              ".Values.pgseal.tokenSecret": "t", ".Release.Name": "shop", ".Release.Revision": "7"}

    def put_in(m):
        if m.group(1).startswith(".Files.Get"):
            return "".join(f"    {line}" for line in (CI / "pgseal-ci").read_text().splitlines(True))
        name, quoted = re.fullmatch(r"(\S+?)( \| quote)?", m.group(1)).groups()
        return f'"{values[name]}"' if quoted else values[name]
    text = re.sub(r"\{\{ (.*?) \}\}", put_in, (CI / "kubernetes/pre-upgrade.yaml").read_text())
    script, job = yaml.safe_load_all(text)
    container, = job["spec"]["template"]["spec"]["containers"]
    copy = ci.dir / "pgseal-ci"
    copy.write_text(script["data"]["pgseal-ci"])
    argv = [str(copy) if a == "/pgseal/pgseal-ci" else a for a in container["command"]]
    env = {e["name"]: e["value"] for e in container["env"]}
    done = run(argv, ci, **{**env, "PGSEAL_TOKEN": "", "PGSEAL_TOKEN_FILE": str(ci.dir / "token")})
    assert done.returncode == 0 and outputs(done.stdout)["tag"] == "pre-upgrade-shop-7", done.stderr
