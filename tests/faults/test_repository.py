"""Damage in the repository between the dump and the drill: every altered object is noticed, named, and condemns."""
import dataclasses
import pathlib
import re
import shutil
import tempfile
import typing

import pytest

import judge
from support.shell import run, wait_for
from support.stack import Stack


class Damage:
    """The objects of one stored checkpoint, another checkpoint's of the same database, and ways to harm the first."""

    def __init__(self, stack, shown, other):
        self.stack, self.objects, self.other = stack, stack.objects(shown), stack.objects(other)

    def path(self, name):
        return self.objects[name]

    def edit(self, name, change):
        data = bytearray(self.path(name).read_bytes())
        self.path(name).write_bytes(change(data) or data)

    def flip(self, name, at):
        def change(data):
            data[at if isinstance(at, int) else at(data)] ^= 0x10
        self.edit(name, change)

    def part(self, name, pattern, which=-1):
        """Where the content of an ASN.1 element begins, by a pattern over openssl's listing; and its length."""
        listing = run(["openssl", "asn1parse", "-inform", "DER", "-in", self.path(name)]).stdout.splitlines()
        found = [re.match(r" *(\d+):d= *\d+ +hl= *(\d+) l= *(\d+)", line) for line in listing if re.search(pattern, line)]
        offset, header, length = (int(n) for n in found[which].groups())
        return offset + header, length

    def serial(self, name, certificate):
        """Where a recipient is named, by its certificate's serial number."""
        text = run(["openssl", "x509", "-in", self.stack.dir / f"keys/{certificate}.crt", "-noout", "-serial"]).stdout
        at = self.path(name).read_bytes().find(bytes.fromhex(text.strip().split("=")[1]), 0, 4000)
        assert at > 0
        return at

    def take_other(self, *names):
        for name in names:
            shutil.copyfile(self.other[name], self.path(name))


S0, S1, MANIFEST, SIGNATURE, ROLES = "000000.zst.cms", "000001.zst.cms", "manifest.json.cms", "manifest.json.cms.sig", "roles.sql.zst.cms"


@dataclasses.dataclass
class Case:
    name: str
    harm: typing.Callable  # of a Damage
    code: str
    mentions: tuple = ()


def swap(d):
    a, b = d.path(S0).read_bytes(), d.path(S1).read_bytes()
    d.path(S0).write_bytes(b)
    d.path(S1).write_bytes(a)


def last(d):
    return max(n for n in d.objects if re.match(r"\d{6}\.", n))


CASES = [
    Case("segment truncated at its end", lambda d: d.edit(S1, lambda x: x[:-100]), "segment_corrupt", (S1, "storage")),
    Case("segment emptied", lambda d: d.path(S1).write_bytes(b""), "segment_corrupt", (S1,)),
    Case("bit in the header", lambda d: d.flip(S1, 1), "segment_corrupt", (S1,)),
    Case("bit in the drill's recipient id", lambda d: d.flip(S0, d.serial(S0, "drill") + 2), "segment_corrupt", (S0,)),
    Case("bit in a wrapped key", lambda d: d.flip(S1, d.part(S1, r"l= +40 prim: OCTET", 0)[0] + 7), "segment_corrupt", (S1,)),
    Case("bit in the ciphertext", lambda d: d.flip(S1, sum(d.part(S1, r"prim: cont \[ 0 \]")) - 5000), "segment_corrupt", (S1,)),
    Case("bit in the tag", lambda d: d.flip(S1, -3), "segment_corrupt", (S1,)),
    Case("segment missing", lambda d: d.path(S1).unlink(), "segment_missing", (S1,)),
    Case("segments swapped", swap, ("segment_corrupt", "archive_format"), ()),
    Case("segment of another checkpoint", lambda d: d.take_other(S1), "segment_corrupt", (S1,)),
    Case("roles altered", lambda d: d.flip(ROLES, -40), "segment_corrupt", (ROLES,)),
    Case("manifest altered", lambda d: d.flip(MANIFEST, lambda x: len(x) // 2), "manifest_invalid", (MANIFEST, "signature")),
    Case("manifest missing", lambda d: d.path(MANIFEST).unlink(), ("segment_missing", "manifest_invalid"), (MANIFEST,)),
    Case("manifest and signature of another checkpoint", lambda d: d.take_other(MANIFEST, SIGNATURE), "manifest_invalid", (MANIFEST,)),
    Case("signature altered", lambda d: d.flip(SIGNATURE, lambda x: x.find(b'"signature":"') + 20), "manifest_invalid", (MANIFEST,)),
]
MORE = [  # of the same kinds
    Case("segment truncated to half", lambda d: d.edit(S1, lambda x: x[:len(x) // 2]), "segment_corrupt", (S1,)),
    Case("segment with a tail", lambda d: d.edit(S1, lambda x: x + b"\0"), "segment_corrupt", (S1,)),
    Case("segment of zeros", lambda d: d.edit(S1, lambda x: bytes(len(x))), "segment_corrupt", (S1,)),
    Case("last segment truncated", lambda d: d.edit(last(d), lambda x: x[:-1]), "segment_corrupt"),
    Case("bit in the content type", lambda d: d.flip(S1, d.part(S1, "authEnvelopedData")[0] + 5), "segment_corrupt", (S1,)),
    Case("bit in the escrow's recipient id", lambda d: d.flip(S0, d.serial(S0, "escrow") + 2), "segment_corrupt", (S0,)),
    Case("bits in every wrapped key", lambda d: [d.flip(S1, d.part(S1, r"l= +40 prim: OCTET", i)[0]) for i in (0, 1)], "segment_corrupt", (S1,)),
    Case("bit in the cipher's name", lambda d: d.flip(S1, d.part(S1, "aes-256-gcm")[0] + 8), "segment_corrupt", (S1,)),
    Case("bit in the nonce", lambda d: d.flip(S1, d.part(S1, r"l= +12 prim: OCTET")[0]), "segment_corrupt", (S1,)),
    Case("bit in the first ciphertext", lambda d: d.flip(S0, d.part(S0, r"prim: cont \[ 0 \]")[0]), "segment_corrupt", (S0,)),
    Case("first segment missing", lambda d: d.path(S0).unlink(), "segment_missing", (S0,)),
    Case("last segment missing", lambda d: d.path(last(d)).unlink(), "segment_missing"),
    Case("first segment of another checkpoint", lambda d: d.take_other(S0), ("segment_corrupt", "manifest_invalid"), ()),
    Case("roles missing", lambda d: d.path(ROLES).unlink(), "segment_missing", (ROLES,)),
    Case("roles of another checkpoint", lambda d: d.take_other(ROLES), "segment_corrupt", (ROLES,)),
    Case("manifest truncated", lambda d: d.edit(MANIFEST, lambda x: x[:-9]), "manifest_invalid", (MANIFEST,)),
    Case("manifest of another checkpoint", lambda d: d.take_other(MANIFEST), "manifest_invalid", (MANIFEST,)),
    Case("everything of another checkpoint", lambda d: d.take_other(*[n for n in d.objects if n in d.other]), "manifest_invalid", (MANIFEST,)),
    Case("signature missing", lambda d: d.path(SIGNATURE).unlink(), ("segment_missing", "manifest_invalid"), (SIGNATURE,)),
    Case("signature of another checkpoint", lambda d: d.take_other(SIGNATURE), "manifest_invalid", (MANIFEST,)),
    Case("signature of no sense", lambda d: d.path(SIGNATURE).write_bytes(b"{}"), "manifest_invalid", (MANIFEST,)),
]
CONTROL = Case("nothing", lambda d: None, "")


def make_shop(server):
    server.create("damaged")
    # About two segments of 1 MiB and a half; md5 does not compress well, so ciphertexts are long enough to aim at.
    server.sql("damaged", "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 60000) i")
    return {"shop": server.conninfo("damaged")}


def store(stack, count):
    identities = [stack.request("shop") for _ in range(count)]
    for identity in identities:
        wait_for("the dump", lambda: "checkpoint.stored" in judge.ledger_kinds(stack, stack.show(identity)), every=0.05)
    return [stack.show(identity) for identity in identities]


@pytest.fixture(scope="module")
def harmed(base, server, request):
    """Stores one checkpoint for each case that is to run, harms it, and only then starts the drill agent; name -> its end."""
    chosen = [i.callspec.params["case"] for i in request.session.items
              if i.module is request.module and "case" in getattr(getattr(i, "callspec", None), "params", {})]
    stack = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", make_shop(server), agents=("dump", "drill"),
                  segment_mb=1, agent_wait_seconds=300)
    stack.start_coordinator()
    stack.start_agent("dump")
    other, *stored = [shown for begin in range(0, 1 + len(chosen), 10) for shown in store(stack, min(10, 1 + len(chosen) - begin))]
    harmed = dict(zip([case.name for case in chosen], stored))
    for case in chosen:
        case.harm(Damage(stack, harmed[case.name], other))
    stack.start_agent("drill")
    yield stack, {name: stack.wait_final(stored["id"]) for name, stored in harmed.items()}
    stack.remove()


def label(case):
    return case.name.replace(" ", "-").replace("'", "")


@pytest.mark.parametrize("case", CASES + [pytest.param(c, marks=pytest.mark.long, id=label(c)) for c in MORE], ids=label)
def test_damage_condemns(harmed, case):
    stack, ended = harmed
    judge.expect(stack, ended[case.name], "failed", case.code, *case.mentions)


@pytest.mark.parametrize("case", [CONTROL], ids=["control"])
def test_undamaged_seals(harmed, case):
    """The same set-up, undamaged: so what failed above failed for its damage."""
    stack, ended = harmed
    judge.sealed(stack, ended[case.name])
