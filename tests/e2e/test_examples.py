"""What deploy/ shows is true: the annotated configurations are accepted as they are, and every key of the schemas is in them."""
import re
import shutil
import subprocess

import pytest

from support.shell import BIN, PROJECT, run


@pytest.fixture
def place(tmp_path):
    for name in ("agent.yaml", "coordinator.yaml"):
        shutil.copy(PROJECT / "deploy" / name, tmp_path)
    (tmp_path / "keys").mkdir()
    for kind, names in (("signing", ("dump-1", "drill-1", "restore-1", "dump-drill-1")), ("recipient", ("drill", "escrow"))):
        for name in names:
            run([BIN / "pgseal", "key", "generate", "--kind", kind, "--out", tmp_path / "keys" / name])
    return tmp_path


def test_agent(place, server):
    for name in ("prod-api.conninfo", "prod-api-restore.conninfo"):
        (place / name).write_text(server.conninfo("postgres"))
        (place / name).chmod(0o600)
    config = (place / "agent.yaml").read_text()
    # no container engine is needed to see that the file is right
    (place / "agent.yaml").write_text(config.replace("engine: auto", "engine: local"))
    said = run([BIN / "pgseal", "doctor", "--config", place / "agent.yaml"]).stdout
    assert "FAIL" not in said and "prod-api" in said and "readable (by plans and restores) as" in said, said


def test_coordinator(place):
    run([BIN / "pgseal-coordinator", "check", "--config", place / "coordinator.yaml"])


@pytest.mark.parametrize("which", ["agent", "coordinator"])
def test_every_key_is_explained(which):
    example = (PROJECT / "deploy" / f"{which}.yaml").read_text()
    source = "".join(p.read_text() for p in sorted((PROJECT / which).glob("**/config*.c")))
    keys = set(re.findall(r'(?:TEXT|INT|LIST|MAPPING|BOOL|SEQUENCE|CYAML_FIELD_\w+)\(\s*"(\w+)"', source))
    assert len(keys) > 10, keys
    assert not [k for k in keys if not re.search(rf"[\s{{#-]{k}:", example)]


def test_fleet(place):
    """The annotated document is accepted, as a part of a configuration; every key of its schema is in it."""
    shutil.copy(PROJECT / "deploy/fleet.yaml", place)
    config = place / "coordinator.yaml"
    config.write_text(config.read_text().replace("# fleet: fleet.yaml ", "fleet: fleet.yaml "))
    said = run([BIN / "pgseal-coordinator", "check", "--config", config])
    assert "4 databases" in said.stdout and "bank" not in said.stderr, said
    text = (place / "fleet.yaml").read_text()
    keys = set(re.findall(r'(?:TEXT|NAME|INT|LIST|BOOL|SECTION|CYAML_FIELD_\w+)\("(\w+)"', (PROJECT / "coordinator/fleet/schema.c").read_text()))
    assert len(keys) > 40 and not [k for k in keys if not re.search(rf"[\s{{#-]{k}:", text)]
    (place / "fleet.yaml").write_text(text.replace("cron: 15 3", "cron: 75 3"))
    refused = subprocess.run([BIN / "pgseal-coordinator", "check", "--config", config], capture_output=True, text=True)
    line = text[:text.index("cron: 15 3")].count("\n") + 1
    assert refused.returncode == 1 and f"fleet.yaml:{line}: policy everything: schedule.cron" in refused.stderr, refused


def test_a_typo_is_found(place):
    path = place / "agent.yaml"
    text = path.read_text()
    path.write_text(text.replace("zstd_level:", "zstd_levle:"))
    done = subprocess.run([BIN / "pgseal-agent", "check", "--config", path], capture_output=True, text=True)
    line = text[:text.index("zstd_level:")].count("\n") + 1
    assert done.returncode == 2 and f"agent.yaml:{line}" in done.stdout and "zstd_levle" in done.stdout, done.stdout
