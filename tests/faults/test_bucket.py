"""A bucket that is slow, cut off, killed, missing, read-only, full; wrong keys, a wrong clock: sealed in the end, or told why."""
import dataclasses
import pathlib
import typing

import pytest

import judge
from storm import Storm
from support.shell import BIN, run, wait_for
from support.stack import yaml

# 6 MB as it is stored: half of what hexadecimal digits take
LARGE = """CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 8) j) FROM generate_series(1, 45000) i"""


@pytest.fixture(scope="module")
def large(server):
    server.create("s3_large")
    server.sql("s3_large", LARGE)
    return server.conninfo("s3_large")


@pytest.fixture(scope="module")
def small(server):
    server.create("s3_small")
    server.sql("s3_small", "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i")
    return server.conninfo("s3_small")


def stored(bucket, identity):
    return [k for k in bucket.list() if identity in k]


def having(keys, part, count):
    """The keys, if so many of them have that part."""
    return keys if sum(part in k for k in keys) >= count else None


def restart(s3):
    s3.kill_gateway()
    s3.start_gateway()


def test_server_killed_in_mid_upload_and_in_mid_drill(make_stack, large, s3, bucket):
    stack = make_stack({"shop": large}, s3=bucket, s3_options={"bandwidth_mb": 1}, segment_mb=1, lease_seconds=15)
    identity = stack.request("shop")
    first = wait_for("segments", lambda: having(stored(bucket, identity), "00000", 2), every=0.05)
    assert not [k for k in first if "manifest" in k], first
    restart(s3)
    then = wait_for("the manifest", lambda: having(stored(bucket, identity), "manifest.json.cms", 1), every=0.05)
    assert not [k for k in then if "proofs/" in k], then
    restart(s3)
    shown = judge.sealed(stack, stack.wait_final(identity))
    assert judge.attempts(shown, "dump") == 1 and judge.attempts(shown, "drill") == 1, "nothing had to be done again"
    assert "trying again" in stack.log("dump-drill")


def test_storm(make_stack, large, s3, bucket):
    with Storm(s3.http) as storm:
        stack = make_stack({"shop": large}, s3=bucket, s3_options={"endpoint": storm.url}, segment_mb=1)
        shown = judge.sealed(stack, judge.ask(stack))
        assert storm.busy > 20 and storm.cuts > 10, (storm.busy, storm.cuts)
        assert judge.attempts(shown, "dump") == 1


def test_nobody_answers(make_stack, small, bucket):
    """For good: an error once the time for it is over, not before and not much later."""
    stack = make_stack({"shop": small}, s3=bucket, s3_options={"endpoint": "https://127.0.0.1:9", "retry_seconds": 2})
    judge.expect(stack, judge.ask(stack), "errored", "repository_unavailable", "https://127.0.0.1:9")


@dataclasses.dataclass
class Case:
    name: str
    code: str
    mentions: tuple
    change: typing.Callable  # (s3 server, bucket, directory) -> options of s3, in place of good ones


def wrong_secret(s3, bucket, directory):
    bucket.write_keys(directory / "keys/other", (s3.owner[0], "wrong"))
    return {"credentials_file": str(directory / "keys/other")}


def unknown_key(s3, bucket, directory):
    bucket.write_keys(directory / "keys/other", ("NOSUCHKEY", "wrong"))
    return {"credentials_file": str(directory / "keys/other")}


def read_only(s3, bucket, directory):
    keys = s3.role(f"reader-{bucket.name}", "restore", bucket.name)
    bucket.write_keys(directory / "keys/other", keys)
    return {"credentials_file": str(directory / "keys/other")}


def full(s3, bucket, directory):
    small = s3.bucket(bucket.name + "-full")
    s3.admin("quota", "set", "--quota-scope=bucket", f"--bucket={small.name}", "--max-objects=1")
    s3.admin("quota", "enable", "--quota-scope=bucket", f"--bucket={small.name}")
    assert s3.request("PUT", f"{small.name}/first", b"x")[0] == 200

    def refused():
        return s3.request("PUT", f"{small.name}/second", b"x")[0] == 403
    wait_for("the quota to be noticed", refused)
    return {"bucket": small.name}


CASES = [
    Case("no such bucket", "repository_missing", ("there-is-none", "Create the bucket"), lambda *_: {"bucket": "there-is-none"}),
    Case("wrong secret", "repository_refused", ("does not accept key id",), wrong_secret),
    Case("unknown key", "repository_refused", ("NOSUCHKEY",), unknown_key),
    Case("read-only key", "repository_refused", ("s3:PutObject", "access denied"), read_only),
    Case("certificate of nobody known", "repository_refused", ("ca_file",), lambda *_: {"ca_file": "/etc/ssl/certs/ca-certificates.crt"}),
    Case("no credentials", "repository_refused", ("no-such-file",), lambda *_: {"credentials_file": "no-such-file"}),
    Case("full", "disk_full", ("quota",), full),
]


def test_refusals(make_stack, small, s3, bucket):
    """One after the other, by what the repository's file says for the next job; then it is right again."""
    stack = make_stack({"shop": small}, s3=bucket)
    good = stack.repository.read_text()
    for case in CASES:
        options = bucket.config("keys/bucket", **case.change(s3, bucket, stack.dir))
        stack.repository.write_text(yaml({"repository": {"s3": options}}))
        print(case.name)
        judge.expect(stack, judge.ask(stack), "errored", case.code, *case.mentions)
    stack.repository.write_text(good)
    judge.sealed(stack, judge.ask(stack))


def test_wrong_clock(make_stack, small, bucket):
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    ahead = ["env", f"LD_PRELOAD={library}", "FAKETIME=+5h", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    stack = make_stack({"shop": small}, s3=bucket, wrap_agent=ahead)
    judge.expect(stack, judge.ask(stack), "errored", "repository_refused", "seconds apart", "clock")


def test_check_tells_before_it_matters(make_stack, small, s3, bucket):
    stack = make_stack({"shop": small}, s3=bucket)
    stack.repository.write_text(yaml({"repository": {"s3": bucket.config("keys/bucket", bucket="there-is-none")}}))
    check = run([BIN / "pgseal-agent", "check", "--config", stack.dir / "dump-drill.yaml"], check=False)
    assert check.returncode == 1 and "FAIL  repository" in check.stdout and "there-is-none" in check.stdout
