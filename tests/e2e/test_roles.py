"""Each role with a key of its own, under exactly the policy that deploy/policies/ has for it, in a bucket with Object Lock."""
import datetime
import json
import pathlib
import re
import tempfile

import pytest

from support.shell import BIN, PROJECT, run
from support.stack import Stack, yaml
from test_doctor_bucket import LOCK, expect, versions
from test_main_path import make_shop

PREFIX = "team/prod"
ROLES = ("dump", "drill", "restore", "prune")


class Place:
    """A fleet whose agents have the least keys, one sealed checkpoint, and a key of each role."""

    def __init__(self, directory, server, s3):
        self.s3, self.bucket = s3, s3.bucket("roles", LOCK)
        self.keys = {role: s3.role(f"roles-{role}", role, self.bucket.name, PREFIX) for role in ROLES}
        self.stack = Stack(directory, {"prod-api": make_shop(server, "s3_roles")}, agents=("dump", "drill"), s3=self.bucket,
                           s3_options={"prefix": PREFIX}, segment_mb=1)
        for role in ROLES:
            self.bucket.write_keys(self.stack.dir / f"keys/{role}-bucket", self.keys[role])
        for name in ("dump", "drill"):
            self.stack.write_agent(name, repository=self.repository(name))

    def repository(self, role):
        return {"s3": self.bucket.config(f"keys/{role}-bucket", prefix=PREFIX, lock_mode="GOVERNANCE", lock_days=1)}

    def answer(self, role, method, key, body=b"", headers=()):
        """HTTP status of one request with that role's key."""
        return self.s3.request(method, f"{self.bucket.name}/{key}", body, headers=headers, keys=self.keys[role])[0]

    def check(self, role, does="dump"):
        """Doctor on an agent that was given that role's key; drills need none."""
        self.stack.agents["patient"] = [does]
        self.stack.write_agent("patient", repository=self.repository(role))
        del self.stack.agents["patient"]
        config = json.loads((self.stack.dir / "patient.yaml").read_text())
        config["agent"]["signing_key"] = "keys/agent-dump.key"
        (self.stack.dir / "patient.yaml").write_text(yaml(config))
        return run([BIN / "pgseal-agent", "check", "--config", self.stack.dir / "patient.yaml"], check=False)


@pytest.fixture(scope="module")
def place(base, server, s3):
    it = Place(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", server, s3)
    it.stack.start()
    it.sealed = it.stack.seal("prod-api")
    yield it
    it.stack.remove()


def test_sealed_with_the_least_keys(place):
    assert place.sealed["restore_drill"] == "proven"
    assert place.stack.cli("drill", place.sealed["id"]).returncode == 0
    prefix = f"{PREFIX}/{place.sealed['prefix']}"
    kept, _ = versions(place.bucket)
    assert len(kept) >= 6 and all(k.startswith(prefix) or "/doctor/" in k for k, _ in kept), kept
    for key, version in kept:  # what drill agents stored is locked, too
        assert place.s3.request("DELETE", f"{place.bucket.name}/{key}?versionId={version}")[0] == 403, key
    place.stack.assert_clean()


# role -> what it may: read, list, store anywhere, store a proof, delete, delete a version, read beside its prefix
MAY = {"dump": (0, 0, 1, 1, 0, 0, 0), "drill": (1, 1, 0, 1, 0, 0, 0), "restore": (1, 1, 0, 0, 0, 0, 0), "prune": (0, 1, 0, 0, 1, 1, 0)}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_key_may(place, role):
    """Of the policy itself, whatever program has the key."""
    manifest = f"{PREFIX}/{place.sealed['prefix']}manifest.json.cms"
    below = f"{PREFIX}/prod-api/other-{role}/attempt-1/"
    for key in (f"{below}old", "elsewhere"):
        assert place.s3.request("PUT", f"{place.bucket.name}/{key}", b"old")[0] == 200
    version = next(v for k, v in versions(place.bucket)[0] if k == f"{below}old")
    locked = next(v for k, v in versions(place.bucket)[0] if k == manifest)
    got = (place.answer(role, "GET", manifest), place.answer(role, "GET", "?list-type=2&prefix="), place.answer(role, "PUT", f"{below}new", b"x"),
           place.answer(role, "PUT", f"{below}proofs/new", b"x"), place.answer(role, "DELETE", f"{below}old"),
           place.answer(role, "DELETE", f"{below}old?versionId={version}"), place.answer(role, "GET", "elsewhere"))
    assert tuple(int(status in (200, 204)) for status in got) == MAY[role], got
    assert all(status in (200, 204, 403) for status in got), got
    # nobody: neither beside the prefix, nor what is locked, nor around the lock, nor the bucket's own rules
    bypass = ["x-amz-bypass-governance-retention: true"]
    unlocked = b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Suspended</Status></VersioningConfiguration>'
    never = (place.answer(role, "PUT", "elsewhere", b"x"), place.answer(role, "DELETE", "elsewhere"),
             place.answer(role, "DELETE", f"{manifest}?versionId={locked}"), place.answer(role, "DELETE", f"{manifest}?versionId={locked}", headers=bypass),
             place.answer(role, "PUT", "?versioning=", unlocked), place.answer(role, "PUT", "?policy=", b"{}"), place.answer(role, "DELETE", ""))
    assert set(never) == {403}, never
    assert (manifest, locked) in versions(place.bucket)[0]


def test_doctor_says_what_a_key_lacks(place):
    looks = (r"^ok    bucket: it keeps versions", r"^ok    bucket: it has Object Lock: what this agent stores is locked for 1 day \(GOVERNANCE\)")
    survived = r"^ok    repository: an object it stored is locked \(GOVERNANCE\): it survived its own uploader"
    expect(place.check("dump"), 0, *looks, r"^ok    repository: it may not read: right", r"^ok    repository: it may not delete$", survived,
           r"^ok    repository: it may not get around the lock")
    expect(run([BIN / "pgseal-agent", "check", "--config", place.stack.dir / "drill.yaml"], check=False), 0, *looks,
           r"^ok    repository: it reads what it wrote", r"^ok    repository: what is stored is not overwritten",
           r"^ok    repository: it may not delete$", survived)
    for role in ("restore", "prune"):
        expect(place.check(role), 1, r"^FAIL  repository: may it write\?: .*access denied to key id " + place.keys[role][0],
               r"Allow s3:PutObject, s3:PutObjectRetention on arn:aws:s3:::roles/team/prod/\*")
    expect(place.check("prune", "prune"), 0, r"agent patient: prunes$", r"^ok    repository: it may list", r"^ok    repository: it may delete versions",
           r"^ok    repository: it may neither read nor store: right for an agent that only prunes")
    expect(place.check("drill", "prune"), 1, r"^FAIL  repository: may it list\?: .*", r"Allow s3:ListBucketVersions")


def fetch(place, role, check=True):
    keys, config = place.stack.dir / "keys", place.stack.dir / f"{role}-repository.yaml"
    config.write_text(yaml({"repository": place.repository(role)}))
    out = place.stack.dir / f"{role}.dump"
    return out, place.stack.cli("fetch", place.sealed["id"], "--repository", config, "--key", keys / "escrow.key",
                                "--certificate", keys / "escrow.crt", "--output", out, check=check)


def test_restoring_with_the_restore_key(place):
    out, _ = fetch(place, "restore")
    assert out.stat().st_size > 1000
    for role in ("dump", "prune"):
        out, done = fetch(place, role, check=False)
        assert done.returncode == 4 and "access denied to key id " + place.keys[role][0] in done.stderr, done.stderr
        assert "s3:GetObject" in done.stderr and not out.exists(), done.stderr


def test_one_source(place):
    """docs/repository.md names each file; `make install` takes them along."""
    page = (PROJECT / "docs/repository.md").read_text()
    assert all(f"deploy/policies/{role}.json" in page for role in ROLES)
    assert sorted(p.stem for p in (PROJECT / "deploy/policies").iterdir()) == sorted(ROLES)
    would = run(["make", "-n", "-C", PROJECT, f"BUILD={BIN.parent}", "install"]).stdout
    assert all(f"deploy/policies/{role}.json" in would for role in ROLES)


def locks(s3, bucket, key):
    """(mode, days from now) of an object's lock, as the server has it."""
    status, body = s3.request("GET", f"{bucket.name}/{key}?retention=")
    assert status == 200, (key, status, body)
    mode, until = (re.search(rf"<{tag}>([^<]*)", body.decode()).group(1) for tag in ("Mode", "RetainUntilDate"))
    end = datetime.datetime.fromisoformat(until[:19]).replace(tzinfo=datetime.timezone.utc)
    return mode, round((end - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400)


def test_a_lock_for_each_database(make_stack, server, s3, bucket):
    """Dumps and proofs are locked as the database wants it, never less than the agent's own file says."""
    locked = s3.bucket(bucket.name + "-l", LOCK)
    server.create("s3_locks")
    server.sql("s3_locks", "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i")
    wanted = {"none": (None, ("GOVERNANCE", 2)), "more": (("compliance", 5), ("COMPLIANCE", 5)), "less": (("governance", 1), ("GOVERNANCE", 2)),
              "both": (("compliance", 1), ("COMPLIANCE", 2))}
    each = {name: {"lock": {"mode": lock[0], "days": lock[1]}} for name, (lock, _) in wanted.items() if lock}
    stack = make_stack(dict.fromkeys(wanted, server.conninfo("s3_locks")), s3=locked, each=each,
                       s3_options={"lock_mode": "GOVERNANCE", "lock_days": 2})
    asked = {name: stack.request(name) for name in wanted}
    for name, identity in asked.items():
        shown = stack.wait_final(identity)
        assert shown["state"] == "sealed", shown
        keys = locked.list(shown["prefix"])
        assert any("/proofs/" in k for k in keys) and any(k.endswith("manifest.json.cms") for k in keys), keys
        assert {locks(s3, locked, k) for k in keys} == {wanted[name][1]}, name


def test_a_lock_that_cannot_be(make_stack, server, bucket):
    """Not sealed without it: neither in a directory nor in a bucket that locks nothing."""
    server.create("s3_lockless")
    options = {"each": {"shop": {"lock": {"mode": "compliance", "days": 1}}}}
    cases = (({}, "config", "a directory locks nothing"), ({"s3": bucket}, "repository_refused", "bucket"))
    for where, code, mention in cases:
        stack = make_stack({"shop": server.conninfo("s3_lockless")}, **options, **where)
        error = stack.refuse("shop", "errored", code)["error"]
        assert mention in error["message"] and "Object Lock" in error["message"] + error["remedy"], error
        assert not [e for e in stack.api("GET", "/api/v1/ledger")[1]["events"] if e["kind"].endswith((".sealed", ".proven"))]
        stack.assert_clean()
