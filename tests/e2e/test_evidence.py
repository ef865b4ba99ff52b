"""Evidence anyone can check: pgseal verify, pgseal key check, pgseal ledger verify."""
import json
import pathlib
import shutil
import sqlite3
import tempfile

import pytest

from support.stack import Stack


@pytest.fixture(scope="module")
def proven(base, server):
    """A stack, and two sealed checkpoints of it."""
    server.create("evidence")
    server.sql("evidence", "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 20) AS v FROM generate_series(1, 5000) i; "
                           "SELECT lo_from_bytea(0, 'an object')")
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", {"shop": server.conninfo("evidence")}, segment_mb=1).start()
    yield s, s.seal("shop", "one"), s.seal("shop", "two")
    s.remove()


def keys(stack, who="escrow"):
    return "--key", stack.dir / f"keys/{who}.key", "--certificate", stack.dir / f"keys/{who}.crt"


def agents(stack):
    """Their public keys, as somebody has them who does not ask the coordinator."""
    return "--public-key", stack.dir / "keys/agent-dump-drill.pub", "--drill-public-key", stack.dir / "keys/agent-dump-drill.pub"


@pytest.fixture
def copied(proven, tmp_path):
    """Objects of the first checkpoint, downloaded without their folders."""
    stack, one, _ = proven
    shutil.copytree(stack.repository / one["prefix"], tmp_path / "objects")
    return stack, one, tmp_path / "objects"


def offline(copied, *more):
    stack, _, objects = copied
    return stack.cli("verify", "--offline", objects, *keys(stack), *(more or agents(stack)), check=False)


def flip(path, at=-40):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_whole(proven):
    stack, one, _ = proven
    said = stack.cli("verify", "one", "--repository", stack.repository, *keys(stack)).stdout
    assert "VERIFIED" in said and "BAD" not in said and "5,000 rows" not in said and "5000 rows" in said, said
    assert "the coordinator told" in said, "whom it had to believe"
    said = stack.cli("verify", one["id"], "--repository", stack.repository, *keys(stack), *agents(stack)).stdout
    assert "VERIFIED" in said and "the coordinator told" not in said, said
    told = json.loads(stack.cli("verify", "one", "--repository", stack.repository, *keys(stack), "--json").stdout)
    assert told["ok"] is True and told["verdict"] == "proven" and told["keys_of_coordinator"] is True
    assert {c["check"] for c in told["checks"]} == {"manifest", "signature", "ledger", "segments", "fingerprint", "roles", "proof"}


def test_offline(copied):
    assert offline(copied).returncode == 0
    stack, one, _ = copied
    whole = stack.cli("verify", one["id"], "--offline", stack.repository, *keys(stack), *agents(stack))
    assert "VERIFIED" in whole.stdout
    several = stack.cli("verify", "--offline", stack.repository, *keys(stack), *agents(stack), check=False)
    assert several.returncode != 0 and "more than one" in several.stderr and "--prefix" in several.stderr
    untrusted = stack.cli("verify", "--offline", stack.repository, *keys(stack), check=False)
    assert untrusted.returncode == 2 and "--public-key" in untrusted.stderr


@pytest.mark.parametrize("name", ["000000.zst.cms", "roles.sql.zst.cms", "manifest.json.cms", "manifest.json.cms.sig"])
def test_altered(copied, name):
    flip(copied[2] / name)
    done = offline(copied)
    assert done.returncode == 1 and "NOT VERIFIED" in done.stdout and "BAD" in done.stdout, done.stdout + done.stderr


def test_missing(copied):
    (copied[2] / "000001.zst.cms").unlink()
    done = offline(copied)
    assert done.returncode == 1 and "000001.zst.cms" in done.stdout, done.stdout


@pytest.mark.parametrize("suffix", [".cms", ".sig"])
def test_altered_proof(copied, suffix):
    flip(next((copied[2] / "proofs").glob(f"*{suffix}")))
    done = offline(copied)
    assert done.returncode == 1 and "BAD   proof" in done.stdout, done.stdout


def test_proof_of_another_checkpoint(proven, copied):
    stack, _, two = proven
    shutil.rmtree(copied[2] / "proofs")
    shutil.copytree(stack.repository / two["prefix"] / "proofs", copied[2] / "proofs")
    done = offline(copied)
    assert done.returncode == 1 and "another checkpoint" in done.stdout, done.stdout


def test_unproven(copied):
    shutil.rmtree(copied[2] / "proofs")
    done = offline(copied)
    assert done.returncode == 1 and "UNPROVEN" in done.stdout and "pgseal drill" in done.stdout, done.stdout


def test_strangers_keys(copied, tmp_path):
    stack = copied[0]
    stack.cli("key", "generate", "--kind", "signing", "--out", tmp_path / "stranger")
    mine, stranger = stack.dir / "keys/agent-dump-drill.pub", tmp_path / "stranger.pub"
    dump = offline(copied, "--public-key", stranger, "--drill-public-key", mine)
    assert dump.returncode == 1 and "BAD   manifest" in dump.stdout, dump.stdout
    drill = offline(copied, "--public-key", mine, "--drill-public-key", stranger)
    assert drill.returncode == 1 and "BAD   proof" in drill.stdout, drill.stdout
    both = offline(copied, "--public-key", mine, "--drill-public-key", stranger, "--drill-public-key", mine)
    assert both.returncode == 0, both.stdout


def test_key_that_does_not_fit_condemns_nothing(proven):
    stack, *_ = proven
    done = stack.cli("verify", "one", "--repository", stack.repository, *keys(stack, "foreign"), check=False)
    assert done.returncode == 4 and "NOT VERIFIED" not in done.stdout and "key" in done.stderr, done.stderr


def test_key_check(proven):
    stack, _, two = proven
    said = stack.cli("key", "check", "--repository", stack.repository, *keys(stack)).stdout
    assert two["id"] in said, "the newest"
    assert stack.cli("key", "check", "one", "--repository", stack.repository, *keys(stack)).returncode == 0
    foreign = stack.cli("key", "check", "--repository", stack.repository, *keys(stack, "foreign"), check=False)
    assert foreign.returncode == 4 and "not encrypted for" in foreign.stderr, foreign.stderr


def test_ledger_chain(proven):
    stack, *_ = proven
    said = json.loads(stack.cli("ledger", "verify", "--json").stdout)
    assert said["ok"] and said["events"] > 10
    seen = f"{said['events']}:{said['tip']}"
    stack.seal("shop", "three")
    assert "the expected one among them" in stack.cli("ledger", "verify", "--expect", seen).stdout
    anew = stack.cli("ledger", "verify", "--expect", f"{said['events']}:{'0' * 64}", check=False)
    assert anew.returncode == 1 and "written anew" in anew.stderr
    cut = stack.cli("ledger", "verify", "--expect", f"100000:{'0' * 64}", check=False)
    assert cut.returncode == 1 and "more events" in cut.stderr
    with sqlite3.connect(stack.dir / "ledger.db") as ledger:
        where = "kind = 'checkpoint.sealed'"
        before = ledger.execute(f"SELECT rowid, kind FROM event WHERE {where}").fetchone()
        for (trigger,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            ledger.execute(f"DROP TRIGGER {trigger}")  # whoever can write the file can do that
        ledger.execute("UPDATE event SET kind = 'checkpoint.failed' WHERE rowid = ?", before[:1])
    try:
        done = stack.cli("ledger", "verify", check=False)
        assert done.returncode == 1 and "altered" in done.stderr, done.stderr
    finally:
        with sqlite3.connect(stack.dir / "ledger.db") as ledger:
            ledger.execute("UPDATE event SET kind = ? WHERE rowid = ?", before[::-1])
    assert stack.cli("ledger", "verify").returncode == 0
