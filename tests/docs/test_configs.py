"""Each ```yaml block is a part of the file that its first line names in a comment: put into a whole one of that kind, it is taken
by the program that reads it."""
import functools
import re
import subprocess

import pages
import pytest
import yaml

from support.postgres import NATIVE
from support.shell import BIN, PROJECT, run

BLOCKS = [b for p in pages.pages() for b in p.blocks if b.kind == "yaml"]
KINDS = ("coordinator.yaml", "agent.yaml", "fleet.yaml", "prometheus.yml", "a workflow of GitHub", "a pipeline of GitLab")
SECRETS = {"url": "https://example.com/x", "key": "0123456789abcdef0123456789abcdef", "password": "secret", "client_secret": "secret",
           "headers": "Authorization: Bearer secret", "ca": "a certificate"}


@pytest.fixture(scope="module")
def place(base):
    """A deployment, and an agent's files beside it."""
    where = base / "configs"
    where.mkdir(exist_ok=True)
    run([BIN / "pgseal-coordinator", "init", "--dir", where / "d", "--name", "localhost"])
    for kind, name in (("recipient", "drill"), ("recipient", "escrow")):
        run([BIN / "pgseal", "key", "generate", "--kind", kind, "--out", where / "d" / name])
    for name, text in (("repository.yaml", "repository: {directory: repository}\n"), ("rehearse.secret", run([BIN / "pgseal", "rehearse", "--new-secret"]).stdout),
                       ("bucket", "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"),
                       ("tls.pem", (where / "d/coordinator.key").read_text() + (where / "d/coordinator.crt").read_text())):
        (where / "d" / name).write_text(text)
        (where / "d" / name).chmod(0o600)
    return where / "d"


def merged(whole, part):
    if isinstance(whole, dict) and isinstance(part, dict):
        return {**whole, **{k: merged(whole[k], v) if k in whole else v for k, v in part.items()}}
    return part


def files(place, value):
    """Secrets that the block names by file are there; keys of its directory `keys` are the agent's."""
    for key, found in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        files(place, found)
        if isinstance(found, str) and isinstance(key, str):
            target = place / found
            kept = place / target.name
            if found.startswith("keys/") and kept.exists():
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(kept.read_bytes())
                target.chmod(0o600)
            elif key.removesuffix("_file") in SECRETS and key.endswith("_file"):
                target.parent.mkdir(exist_ok=True)
                target.write_text(SECRETS[key.removesuffix("_file")] + "\n")
                target.chmod(0o600)


def written(place, name, config):
    files(place, config)
    (place / name).write_text(yaml.safe_dump(config))
    return place / name


@functools.lru_cache(None)
def whole_agent():
    return {"agent": {"name": "a", "coordinators": ["tcp://127.0.0.1:8421"], "data": "data", "signing_key": "signing.key",
                      "capabilities": ["drill"]},
            "keys": {"recipients": ["drill.crt"], "decryption_key": "drill.key", "decryption_certificate": "drill.crt"},
            "repository": {"directory": "repository"}, "drill": {"engine": "local"},
            "postgres": {"bin_dirs": [{"major": NATIVE, "path": f"/usr/lib/postgresql/{NATIVE}/bin"}]}}


def check_coordinator(place, part):
    config = merged(yaml.safe_load((place / "coordinator.yaml.made").read_text()), part)
    if "oidc" in config:  # nobody's issuer is asked
        config["oidc"]["issuer"] = "http://127.0.0.1:1"
    return subprocess.run([BIN / "pgseal-coordinator", "check", "--config", written(place, "coordinator.yaml", config)], capture_output=True, text=True)


def check(place, kind, text):
    """What is wrong with it; None if nothing is."""
    made = place / "coordinator.yaml.made"
    if not made.exists():
        made.write_text((place / "coordinator.yaml").read_text())
    part = yaml.safe_load(text)
    if kind == "coordinator.yaml":
        done = check_coordinator(place, part)
        return done.stderr if done.returncode else None
    if kind == "fleet.yaml":
        (place / "fleet.yaml").write_text(text)
        done = check_coordinator(place, {"fleet": "fleet.yaml"})
        return done.stderr if done.returncode else None
    if kind == "agent.yaml":
        config = merged(whole_agent(), part)
        if len(part.get("repository", {})) == 1:  # one of several
            config["repository"] = part["repository"]
        if "s3" in config["repository"]:  # nobody's bucket is asked for
            config["repository"]["s3"] |= {"endpoint": "http://127.0.0.1:1", "retry_seconds": 1}
        if "directory" in config["repository"]:
            config["repository"]["directory"] = str(place) + config["repository"]["directory"].replace("/", "-")
        # it may not reach a bucket of somebody's: that the file is right is all that is asked (status 2: it is not)
        done = subprocess.run([BIN / "pgseal-agent", "check", "--config", written(place, "agent.yaml", config)], capture_output=True, text=True)
        return done.stdout + done.stderr if done.returncode not in (0, 1) else None
    if kind == "prometheus.yml":  # test_metrics.py has Prometheus read it
        return None if set(part) <= {"scrape_configs", "rule_files", "global", "alerting"} else f"Prometheus knows no {set(part)}"
    return pipeline(part)


def pipeline(part):
    """Steps that use this project's action give it inputs that it has, and all that it requires. Scripts: test_api_examples.py."""
    steps = part if isinstance(part, list) else [s for job in part.get("jobs", {}).values() for s in job.get("steps", [])]
    action = yaml.safe_load((PROJECT / "deploy/ci/github/action.yml").read_text())["inputs"]
    for step in steps:
        if "pgseal/deploy/ci/github" in step.get("uses", ""):
            given = set(step.get("with", {}))
            missing = {n for n, i in action.items() if i.get("required")} - given
            if given - set(action) or missing:
                return f"unknown inputs: {given - set(action)}; missing: {missing}"
        elif "run" not in step:
            return f"a step that neither runs nor uses anything: {step}"
    return None


@pytest.mark.parametrize("block", BLOCKS, ids=[b.where for b in BLOCKS])
def test_block(place, block):
    first = block.text.split("\n")[0]
    kind = next((k for k in KINDS if re.match(rf"# {re.escape(k)}\b", first)), None)
    if block.name in ("github", "gitlab"):
        kind = KINDS[-1]
    assert kind, (f"{block.where}: the first line of a yaml block says what it is a part of: '# coordinator.yaml', or one of: {', '.join(KINDS)}"
                  " (tests/docs/README.md)")
    problem = check(place, kind, block.text)
    assert problem is None, f"{block.where}: as a part of {kind} it is refused:\n{problem}"


def test_what_is_wrong_is_found(place):
    assert check(place, "coordinator.yaml", "alerts: {defualt: [x]}") and check(place, "fleet.yaml", "policies: [{name: x, retenton: {last: 5}}]")
    assert check(place, "agent.yaml", "repository: {s3: {buket: x}}") and check(place, "a workflow of GitHub", "[{uses: OWNER/pgseal/deploy/ci/github@REF}]")
