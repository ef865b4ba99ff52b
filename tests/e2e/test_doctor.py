"""pgseal doctor: what an agent's configuration names is tried, and what is wrong is said with a remedy."""
import pathlib
import re
import tempfile

import pytest
import yaml

from support.stack import Stack


@pytest.fixture(scope="module")
def place(base, server):
    server.create("patient")
    server.sql("patient", "CREATE TABLE t AS SELECT 1 AS a; CREATE TABLE secret (a int); CREATE ROLE limited LOGIN; GRANT SELECT ON t TO limited")
    stack = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", {"shop": server.conninfo("patient")})
    (stack.dir / "shop.limited").write_text(server.conninfo("patient", user="limited"))
    yield stack
    stack.remove()


def doctor(stack, change=lambda config: None):
    """Of the agent, with a change in its file."""
    path = stack.dir / "patient.yaml"
    config = yaml.safe_load((stack.dir / "dump-drill.yaml").read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))
    return stack.cli("doctor", "--config", path, check=False)


def lines(done, word):
    return [line for line in done.stdout.splitlines() if line.startswith(word)]


def test_well(place):
    done = doctor(place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not lines(done, "FAIL"), done.stdout
    said = done.stdout
    for part in (r"ok    shop: PostgreSQL 15\S*.*2 tables", r"ok    drill of PostgreSQL 15: .* started in", r"ok    repository: it reads what it wrote",
                 r"ok    repository: what is stored is not overwritten", r"warn  repository: a directory", r"warn  shop: the role is a superuser"):
        assert re.search(part, said), (part, said)
    assert "\nAll of it works; " in said and "trials" not in said and "inventories" not in said
    assert not list((place.repository / "doctor").rglob("probe")), "it takes away what it put there"
    place.assert_clean()


def test_unreadable_table(place):
    done = doctor(place, lambda config: config["databases"][0].update(conninfo_file="shop.limited"))
    assert done.returncode == 1
    assert "secret" in lines(done, "FAIL")[0] and "GRANT" in done.stdout, done.stdout
    assert lines(done, "warn") and "may be read by others" in done.stdout, "the connection string's file has an open mode"


def test_wrong_key(place):
    def wrong(config):
        config["keys"].update(decryption_key="keys/escrow.key")
        config["agent"]["capabilities"].append("rehearse")
        config["rehearse"] = {"secret_file": "keys/escrow.key"}

    done = doctor(place, wrong)
    assert done.returncode == 1 and "FAIL  decryption key" in done.stdout and "FAIL  rehearsal's secret" in done.stdout, done.stdout
    assert "pgseal rehearse --new-secret" in done.stdout, done.stdout


def test_no_engine(place):
    done = doctor(place, lambda config: config["drill"].update(engine="docker", socket="/nonexistent.sock"))
    assert done.returncode == 1 and "FAIL  drill engine" in done.stdout, done.stdout


def test_wrong_configuration(place):
    done = doctor(place, lambda config: config.update(repositroy=config.pop("repository")))
    assert done.returncode == 2 and "patient.yaml:" in done.stdout, done.stdout
    assert place.cli("doctor", check=False).returncode == 2
