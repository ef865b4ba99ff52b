"""An agent with the capability `restore` alone, with a connection of its own: it gets plans and nothing else."""
import os
import pathlib
import tempfile

import pytest
import yaml

from support.shell import BIN, PROJECT, run, wait_for
from support.stack import Stack

OVER = ("done", "failed", "errored", "canceled")


@pytest.fixture(scope="module")
def stack(base, server):
    server.create("recovered")
    server.sql("recovered", "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE dropped (id int PRIMARY KEY);"
                            "CREATE ROLE putter LOGIN SUPERUSER; INSERT INTO dropped SELECT generate_series(1, 100)")
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="r.", dir=base)) / "p", {"shop": server.conninfo("recovered")},
              agents=("dump+drill", "restore"))
    other = s.dir / "shop.restore"
    other.write_text(server.conninfo("recovered", user="putter"))
    other.chmod(0o600)
    config = yaml.safe_load((s.dir / "restore.yaml").read_text())
    config["databases"][0]["restore_conninfo_file"] = "shop.restore"
    s.write_agent("restore", databases=config["databases"])
    yield s.start()
    s.remove()
    server.sql("recovered", "DROP ROLE putter")


def test_guard_finds_what_is_gone(stack, server):
    sealed = stack.seal("shop", "before")
    server.sql("recovered", "DROP TABLE dropped")
    status, asked, _ = stack.api("POST", "/api/v1/plans", {"database": "shop", "purpose": "guard"})
    assert status == 202, asked
    job = wait_for("the plan", lambda: (lambda j: j if j["state"] in OVER else None)(stack.api("GET", f"/api/v1/jobs/{asked['id']}")[1]),
                   timeout=120, every=0.3)
    assert (job["state"], job["agent"], job["checkpoint"]) == ("done", "restore", sealed["id"]), job
    assert job["report"]["damage"] == "lost" and job["report"]["target"]["user"] == "putter", job["report"]
    events = [e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"] == "guard.damage"]
    assert len(events) == 1 and any("public.dropped" in name for name in events[0]["detail"]["lost"]), events
    assert stack.show(sealed["id"])["state"] == "sealed"
    assert {j["kind"] for j in stack.api("GET", "/api/v1/jobs")[1]["jobs"] if j["agent"] == "restore"} == {"plan"}
    stack.assert_clean()


def test_what_cannot_be_read_is_not_called_unharmed(stack, server):
    """Made anew by somebody else, the table lost its rows, and the grant by which that could be seen."""
    server.sql("recovered", "CREATE ROLE reader LOGIN; CREATE TABLE owned (id int); INSERT INTO owned VALUES (1);"
                            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    path = stack.dir / "shop.restore"
    before = path.read_text()
    path.write_text(server.conninfo("recovered", user="reader"))
    env = {"PATH": os.environ["PATH"], "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token, "PGSEAL_KEY": "one-for-all"}
    pipeline = [PROJECT / "deploy/ci/pgseal-ci", "guard-after", "shop", "readable"]
    try:
        stack.seal("shop", "readable")
        assert stack.cli("guard", "shop", "--after", "--tag", "readable").returncode == 0
        assert run(pipeline, env=env, check=False).returncode == 0
        server.sql("recovered", "DROP TABLE owned; CREATE TABLE owned (id int)")
        for argv in (("guard", "shop", "--after", "--tag", "readable"), ("plan", "shop", "--checkpoint", "readable")):
            done = stack.cli(*argv, check=False)
            assert done.returncode == 4 and "Nothing is lost" not in done.stdout + done.stderr, done
            assert "1 table could not be compared" in done.stderr and "public.owned" in done.stdout + done.stderr, done
        done = run(pipeline, env=env, check=False)
        assert done.returncode == 4 and "1 tables could not be compared" in done.stderr, done
        server.sql("recovered", "GRANT SELECT ON owned TO reader")
        assert run(pipeline, env=env, check=False).returncode == 5
    finally:
        path.write_text(before)
        server.sql("recovered", "DROP OWNED BY reader; DROP ROLE reader")


def test_doctor(stack):
    said = stack.cli("doctor", "--config", stack.dir / "restore.yaml").stdout
    assert "agent restore: restores" in said and "FAIL" not in said, said
    assert "readable (by plans and restores) as putter" in said and "it may read" in said, said


@pytest.mark.parametrize("section, key, what", [("keys", "decryption_key", "belong together"), (None, "databases", "an agent that restores needs `databases`")])
def test_what_it_needs(stack, section, key, what):
    config = yaml.safe_load((stack.dir / "restore.yaml").read_text())
    del (config[section] if section else config)[key]
    path = stack.dir / "wrong.yaml"
    path.write_text(yaml.safe_dump(config))
    done = run([BIN / "pgseal-agent", "check", "--config", path], check=False)
    assert done.returncode == 2 and what in done.stdout, done.stdout


def test_needs_the_key(stack):
    config = yaml.safe_load((stack.dir / "restore.yaml").read_text())
    del config["keys"]["decryption_key"], config["keys"]["decryption_certificate"]
    path = stack.dir / "wrong.yaml"
    path.write_text(yaml.safe_dump(config))
    done = run([BIN / "pgseal-agent", "check", "--config", path], check=False)
    assert done.returncode == 2 and "an agent that restores needs keys.decryption_key" in done.stdout, done.stdout
