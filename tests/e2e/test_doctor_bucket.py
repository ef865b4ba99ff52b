"""pgseal doctor on a bucket: what guards it, and what a key may do to what it stored; each as it is, on a real server."""
import pathlib
import re
import tempfile
import xml.etree.ElementTree as ElementTree

import pytest

from support.shell import BIN, run, wait_for
from support.stack import Stack

LOCK = ["x-amz-bucket-object-lock-enabled: true"]
XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@pytest.fixture(scope="module")
def place(base, server):
    """A dump agent's keys and files; which bucket it has, each test says."""
    server.create("tenant")
    stack = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", {"shop": server.conninfo("tenant")}, agents=("dump",))
    yield stack
    stack.remove()


def doctor(place, bucket, keys=None, wrap=(), **options):
    bucket.write_keys(place.dir / "keys/bucket", keys)
    place.write_agent("dump", repository={"s3": bucket.config("keys/bucket", **options)})
    return run([*wrap, BIN / "pgseal-agent", "check", "--config", place.dir / "dump.yaml"], check=False)


def expect(done, code, *said):
    assert done.returncode == code, done.stdout + done.stderr
    for part in said:
        assert re.search(part, done.stdout, re.M), (part, done.stdout)


def versions(bucket):
    """(key, id) of each version and each delete marker"""
    status, body = bucket.server.request("GET", f"{bucket.name}/?versions=")
    assert status == 200, body
    found = {"Version": [], "DeleteMarker": []}
    for item in ElementTree.fromstring(body).iter():
        kind = item.tag.split("}")[-1]
        if kind in found:
            found[kind].append(tuple(next(c.text for c in item if c.tag.endswith("}" + t)) for t in ("Key", "VersionId")))
    return found["Version"], found["DeleteMarker"]


def test_plain(place, bucket):
    done = doctor(place, bucket)
    expect(done, 0, r"^ok    clock: it is \S+ here, and \S+ at the bucket's server: near enough", r"^ok    bucket: it keeps no versions",
           r"^warn  bucket: it has no Object Lock", r"^ok    repository: what is stored is not overwritten",
           r"^warn  repository: this key may delete, which no agent needs$")
    assert "version" not in done.stdout.split("keeps no versions")[1] and not bucket.list(), done.stdout


def test_versions_without_a_lock(place, bucket):
    status, body = bucket.server.request("PUT", f"{bucket.name}?versioning=",
                                         f"<VersioningConfiguration {XMLNS}><Status>Enabled</Status></VersioningConfiguration>".encode())
    assert status == 200, body
    expect(doctor(place, bucket), 0, r"^ok    bucket: it keeps versions", r"^warn  bucket: it has no Object Lock",
           r"^warn  repository: this key may delete, .*: here that hides an object, which stays as a version",
           r"^warn  repository: this key may delete versions, too")
    assert versions(bucket) == ([], []), "it takes away what it put there, and the markers, too"


def test_lock_mode_without_a_lock(place, bucket):
    expect(doctor(place, bucket, lock_mode="GOVERNANCE", lock_days=1), 1,
           r"^FAIL  bucket: lock_mode is GOVERNANCE, but it has no Object Lock", r"^FAIL  repository: may it write\?")


def test_lock_that_nobody_uses(place, s3, bucket):
    locked = s3.bucket(bucket.name + "-l", LOCK)
    expect(doctor(place, locked), 0, r"^warn  bucket: it has Object Lock, but nothing is locked", r"Set lock_mode and lock_days",
           r"^warn  repository: this key may delete versions, too")
    status, body = s3.request("PUT", f"{locked.name}?object-lock=", (
        f"<ObjectLockConfiguration {XMLNS}><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>"
        "<Days>2</Days></DefaultRetention></Rule></ObjectLockConfiguration>").encode())
    assert status == 200, body
    done = doctor(place, locked)
    expect(done, 0, r"locked for 2 days \(COMPLIANCE, its default\)", r"^ok    repository: an object it stored is locked \(COMPLIANCE\): it survived")
    assert_survived(locked, done)


def assert_survived(bucket, done):
    """The probe that it says it left is there, as a version that its owner cannot delete either."""
    key = re.search(r"The probe stays behind: (\S+) ", done.stdout).group(1)
    kept, _ = versions(bucket)
    assert [k for k, _ in kept] == [key], kept
    status, body = bucket.server.request("GET", f"{bucket.name}/{key}?versionId={kept[0][1]}")
    assert status == 200 and body.startswith(b"pgseal doctor"), body
    assert bucket.server.request("DELETE", f"{bucket.name}/{key}?versionId={kept[0][1]}")[0] == 403


def test_locked_object_survives_its_uploader(place, s3, bucket):
    locked = s3.bucket(bucket.name + "-l", LOCK)
    done = doctor(place, locked, lock_mode="COMPLIANCE", lock_days=1)
    expect(done, 0, r"^ok    bucket: it has Object Lock: what this agent stores is locked for 1 day \(COMPLIANCE\)",
           r"^ok    repository: an object it stored is locked \(COMPLIANCE\): it survived its own uploader's attempt to overwrite and to delete it",
           r"^warn  repository: this key may delete, .*: here that hides an object")
    assert_survived(locked, done)


def test_lock_that_the_key_gets_around(place, s3, bucket):
    """GOVERNANCE holds against whoever may not bypass it; the bucket's owner may."""
    locked = s3.bucket(bucket.name + "-l", LOCK)
    done = doctor(place, locked, lock_mode="GOVERNANCE", lock_days=1)
    expect(done, 0, r"^ok    repository: an object it stored is locked \(GOVERNANCE\)", r"^warn  repository: but this key may get around the lock")
    assert versions(locked) == ([], []), done.stdout


def test_clock(place, bucket):
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

    def ahead(by):
        return doctor(place, bucket, wrap=["env", f"LD_PRELOAD={library}", f"FAKETIME={by}", "FAKETIME_DONT_FAKE_MONOTONIC=1"])
    expect(ahead("+5m"), 0, r"^warn  clock: it is \S+ here, and \S+ at the bucket's server$", r"(299|30\d) seconds apart, and S3 refuses what is 15 minutes off")
    expect(ahead("+5h"), 1, r"^FAIL  repository: .*seconds apart", r"Set the clock")


def firing(place):
    return sorted(a["condition"] for a in place.api("GET", "/api/v1/alerts")[1]["alerts"] if a["subject"] == "dump" and a["state"] == "firing")


def test_alerts(place, s3, bucket):
    """The coordinator is told what the agent found, and alerts; with the policy of deploy/ there is nothing to be told, nor is
    anything stored to find that out."""
    locked = s3.bucket(bucket.name + "-l", LOCK)
    least = s3.role(bucket.name + "-dump", "dump", locked.name, "shop")

    def agent_finds(alerts, **repository):
        place.write_agent("dump", repository=repository)
        place.start_agent("dump")
        wait_for(f"alerts {alerts}", lambda: firing(place) == alerts, every=0.2)
        place.kill("dump", 15)
    bucket.write_keys(place.dir / "keys/bucket")
    locked.write_keys(place.dir / "keys/least", least)
    place.start_coordinator()
    agent_finds(["repository_removable", "repository_unlocked"], s3=bucket.config("keys/bucket"))
    told = {a["condition"]: a["summary"] for a in place.api("GET", "/api/v1/alerts")[1]["alerts"]}
    assert "its bucket has no Object Lock" in told["repository_unlocked"] and "may delete" in told["repository_removable"]
    agent_finds([], s3=locked.config("keys/least", prefix="shop", lock_mode="COMPLIANCE", lock_days=2))
    tools = place.api("GET", "/api/v1/agents")[1]["agents"][0]["tools"]
    assert tools["repository-lock"] == "COMPLIANCE 2 days" and tools["repository-removes"] == "no" and tools["repository"] == "bucket"
    agent_finds(["repository_unlocked"], directory="repository")
    assert versions(locked) == versions(bucket) == ([], [])
    place.kill("coordinator", 15)
