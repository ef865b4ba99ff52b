"""The damage of test_repository.py, done to the objects of a bucket: noticed, named, and condemning, all the same."""
import pathlib
import tempfile

import pytest

import judge
from support.stack import Stack
from test_repository import CASES, CONTROL, MORE, Damage, label, make_shop, store

QUICK = ("segment truncated at its end", "segment missing", "segments swapped", "roles altered", "manifest altered",
         "manifest and signature of another checkpoint")


def harm(stack, bucket, case, shown, other):
    """Takes copies, harms those, and puts what changed where it was: an administrator of the bucket can."""
    damage = Damage(stack, shown, other)
    before = {name: path.read_bytes() for name, path in damage.objects.items()}
    case.harm(damage)
    for name, path in damage.objects.items():
        key = f"{bucket.name}/{shown['prefix']}{name}"
        if not path.exists():
            assert bucket.server.request("DELETE", key)[0] == 204
        elif path.read_bytes() != before[name]:
            upload(bucket, key, path)


def upload(bucket, key, path):
    status, body = bucket.server.upload(key, path)
    assert status == 200, body


@pytest.fixture(scope="module")
def harmed(base, server, s3, request):
    chosen = [i.callspec.params["case"] for i in request.session.items
              if i.module is request.module and "case" in getattr(getattr(i, "callspec", None), "params", {})]
    bucket = s3.bucket("damaged")
    stack = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", make_shop(server), agents=("dump", "drill"),
                  segment_mb=1, agent_wait_seconds=300, s3=bucket)
    stack.start_coordinator()
    stack.start_agent("dump")
    other, *stored = [shown for begin in range(0, 1 + len(chosen), 10) for shown in store(stack, min(10, 1 + len(chosen) - begin))]
    for case, shown in zip(chosen, stored):
        harm(stack, bucket, case, shown, other)
    stack.start_agent("drill")
    yield stack, {case.name: stack.wait_final(shown["id"]) for case, shown in zip(chosen, stored)}
    stack.remove()


@pytest.mark.parametrize("case", [pytest.param(c, id=label(c), marks=() if c.name in QUICK else pytest.mark.long)
                                  for c in CASES + MORE])
def test_damage_condemns(harmed, case):
    stack, ended = harmed
    judge.expect(stack, ended[case.name], "failed", case.code, *case.mentions)


@pytest.mark.parametrize("case", [CONTROL], ids=["control"])
def test_undamaged_seals(harmed, case):
    stack, ended = harmed
    judge.sealed(stack, ended[case.name])


def test_everything_gone(make_stack, server, bucket):
    """An empty bucket is another one than the checkpoint was stored in: it condemns nothing."""
    stack = make_stack(make_shop(server), agents=("dump", "drill"), start=False, s3=bucket)
    stack.start_coordinator()
    stack.start_agent("dump")
    shown, = store(stack, 1)
    for key in bucket.list():
        assert bucket.server.request("DELETE", f"{bucket.name}/{key}")[0] == 204
    stack.start_agent("drill")
    judge.expect(stack, stack.wait_final(shown["id"]), "errored", "unavailable", "holds nothing at all")
