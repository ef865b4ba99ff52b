"""Faults around the drill: its copy altered under its hands, its key, its tools, its engine, its image."""
import contextlib
import os
import pathlib
import shutil
import socket
import threading

import psycopg2
import pytest

import judge
from data import GO_ON, slow_to_restore
from support.postgres import tools_dir
from support.shell import wait_for

# Restoring it takes a while in the index step, when every row is there.
SLOW = slow_to_restore(20) + """
    CREATE TABLE one (id int PRIMARY KEY, v text); INSERT INTO one SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
    CREATE TABLE two (id int, v text); INSERT INTO two SELECT i, md5(i::text) FROM generate_series(1, 1000) i"""


@pytest.fixture(scope="module")
def slow(server):
    server.create("slow")
    server.sql("slow", SLOW)
    return {"shop": server.conninfo("slow")}


@pytest.fixture
def small(server):
    server.create("small")
    server.sql("small", "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 1000) i")
    return {"shop": server.conninfo("small")}


def copy_of(stack, identity, timeout=240):
    """A session in the drill's own copy, once it builds the slow index; as root one gets through to its socket."""
    def look():
        jobs = [j["id"] for j in stack.show(identity)["jobs"] if j["kind"] == "drill"]
        for place in [pathlib.Path(f"/var/tmp/pgseal-{j}/socket") for j in jobs]:
            try:
                connection = psycopg2.connect(host=str(place), user="postgres", dbname="slow")
            except psycopg2.OperationalError:
                continue
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX slow_index%' AND state = 'active'")
                if cursor.fetchone():
                    return connection
            connection.close()
        return None
    return wait_for("the drill's copy", look, timeout=timeout, every=0.2)  # nine look at once: within http_limits


ALTERATIONS = {
    "row changed": ("UPDATE one SET v = 'x' || v WHERE id = 500", "public.one"),
    "row lost": ("DELETE FROM two WHERE id = 500", "public.two"),
    "row doubled": ("INSERT INTO two SELECT * FROM two WHERE id = 7", "public.two"),
    "row doubled, another lost": ("DELETE FROM two WHERE id = 8; INSERT INTO two SELECT * FROM two WHERE id = 7", "public.two"),
    "rows swapped between tables": (
        "UPDATE one SET v = (SELECT v FROM two WHERE id = 9) WHERE id = 500; UPDATE two SET v = md5('500') WHERE id = 9", "public.one"),
    "values swapped in a table": ("UPDATE two SET v = md5((3 - id)::text) WHERE id IN (1, 2)", "public.two"),
    "grant added": ("GRANT SELECT ON one TO PUBLIC", "one"),
    "function replaced": ("CREATE OR REPLACE FUNCTION slowly(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i'", "slowly"),
    "table added": ("CREATE TABLE three ()", "three"),
}


@pytest.fixture(scope="module")
def altered(base, slow, request):
    """One pgseal; a checkpoint for each alteration that is to run, made to its copy before it is dumped again."""
    import tempfile
    from support.stack import Stack
    chosen = [i.callspec.params["what"] for i in request.session.items if i.module is request.module and hasattr(i, "callspec")
              and "what" in i.callspec.params]
    stack = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", slow, slots={"dump": 3, "drill": 3})
    try:
        stack.start()
        asked = {what: stack.request("shop") for what in chosen}
        failures = []

        def alter(what):
            try:
                copy = copy_of(stack, asked[what])
                copy.cursor().execute(ALTERATIONS[what][0])
                copy.cursor().execute(GO_ON)
                copy.close()
            except Exception as e:  # to the main thread
                failures.append(f"{what}: {e}")
        threads = [threading.Thread(target=alter, args=(what,)) for what in chosen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        yield stack, {what: stack.wait_final(identity) for what, identity in asked.items()}
    finally:
        stack.remove()


@pytest.mark.parametrize("what", ALTERATIONS, ids=lambda w: w.replace(" ", "-").replace(",", ""))
def test_copy_altered_before_it_is_dumped_again(altered, what):
    stack, shown = altered
    judge.expect(stack, shown[what], "failed", "round_trip_differs", ALTERATIONS[what][1])


def test_copy_killed_in_mid_drill(make_stack, slow):
    """Its server dies: nothing is condemned, and the next attempt seals."""
    stack = make_stack(slow)
    identity = stack.request("shop")
    copy = copy_of(stack, identity)
    with copy.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        data = pathlib.Path(cursor.fetchone()[0])
    copy.close()
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), 9)
    with contextlib.closing(copy_of(stack, identity)) as another:
        another.cursor().execute(GO_ON)
    shown = judge.sealed(stack, stack.wait_final(identity))
    assert judge.attempts(shown, "drill") == 2


def test_namesake_elsewhere_leaves_it_alone(make_stack, slow, small):
    """Two agents of the same name on one machine, of two coordinators: a start of one reaps nothing of the other's."""
    stack = make_stack(slow, lease_seconds=15)
    identity = stack.request("shop")
    with contextlib.closing(copy_of(stack, identity)) as copy:
        make_stack(small)
        copy.cursor().execute(GO_ON)
    shown = judge.sealed(stack, stack.wait_final(identity))
    assert judge.attempts(shown, "drill") == 1


def test_wrong_decryption_key(make_stack, small):
    stack = make_stack(small, start=False, agents=("dump", "drill"))
    stack.write_agent("drill", keys={"recipients": ["keys/drill.crt"], "decryption_key": "keys/foreign.key",
                                     "decryption_certificate": "keys/foreign.crt"})
    stack.start()
    shown = judge.ask(stack)
    judge.expect(stack, shown, "errored", "key_mismatch", "recipients")
    # Nothing was condemned: with the right key, a later drill seals it.
    stack.kill("drill", 15)
    stack.write_agent("drill")
    stack.start_agent("drill")
    assert stack.cli("drill", shown["id"]).returncode == 0
    judge.sealed(stack, stack.show(shown["id"]))


def test_sealed_and_then_damaged(make_stack, small):
    """A later drill of a checkpoint that rotted in the repository condemns it, whatever was proven before."""
    stack = make_stack(small)
    shown = judge.ask(stack)
    segment = stack.objects(shown)["000000.zst.cms"]
    data = bytearray(segment.read_bytes())
    data[-30] ^= 1
    segment.write_bytes(data)
    assert stack.cli("drill", shown["id"], check=False).returncode == 1
    shown = stack.show(shown["id"])
    assert shown["ok"] is False and shown["state"] == "failed" and shown["restore_drill"] == "failed", shown
    assert shown["error"]["code"] == "segment_corrupt"
    judge.intact(stack)


def test_altered_proof_is_noticed(make_stack, small):
    """The ledger keeps the proof's digest; its signature says the same without a ledger (docs/open-without-pgseal.md)."""
    import hashlib
    import subprocess
    stack = make_stack(small)
    shown = judge.ask(stack)
    objects = stack.objects(shown)
    name = next(n for n in objects if n.startswith("proofs/") and n.endswith(".cms"))

    def checks():
        data = objects[name].read_bytes()
        (stack.dir / "signed").write_bytes(b"pgseal:proof\0" + data)
        import json
        (stack.dir / "signature").write_bytes(bytes.fromhex(json.loads(objects[name + ".sig"].read_text())["signature"]))
        verified = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", stack.dir / "keys/agent-dump-drill.pub", "-rawin",
                                   "-in", stack.dir / "signed", "-sigfile", stack.dir / "signature"], capture_output=True)
        return hashlib.sha256(data).hexdigest() == shown["proof_sha256"], verified.returncode == 0
    assert checks() == (True, True)
    data = bytearray(objects[name].read_bytes())
    data[len(data) // 2] ^= 1
    objects[name].write_bytes(data)
    assert checks() == (False, False)


def test_tools_of_another_major(make_stack, small):
    stack = make_stack(small, start=False, agents=("dump", "drill"))
    wrong = {"bin_dirs": [{"major": 15, "path": str(tools_dir(17))}]}
    stack.write_agent("dump", postgres=wrong)
    stack.start()
    judge.expect(stack, judge.ask(stack), "errored", "version_mismatch", "PostgreSQL 15", "PostgreSQL 17", str(tools_dir(17)))
    for name in ("dump", "drill"):
        stack.kill(name, 15)
    stack.write_agent("dump")
    stack.write_agent("drill", postgres=wrong)
    stack.start_agent("dump")
    stack.start_agent("drill")
    judge.expect(stack, judge.ask(stack), "errored", "version_mismatch", "PostgreSQL 15", "PostgreSQL 17", str(tools_dir(17)))


class Socket:
    """What stands where a container engine's socket should be."""

    def __init__(self, directory, kind):
        self.socket = pathlib.Path(directory) / f"{kind}.sock"
        self.listener = None
        if kind == "absent":
            return
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.socket))
        if kind == "refusing":  # it is there, and nobody listens
            self.listener.close()
            return
        self.listener.listen(16)
        threading.Thread(target=self._serve, args=(kind,), daemon=True).start()

    def _serve(self, kind):
        held = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if kind == "mute":
                held.append(connection)
            elif kind == "failing":
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 27\r\n'
                                   b'Connection: close\r\n\r\n{"message":"out of spirits"}'[:-1] + b"\n")
                connection.close()
            else:
                connection.close()

    def containers(self):
        return []


@pytest.mark.parametrize("kind", ["absent", "refusing"] + [pytest.param(k, marks=pytest.mark.long) for k in ("hanging-up", "failing", "mute")])
def test_no_container_engine(make_stack, small, tmp_path, kind):
    shutil.os.chmod(tmp_path, 0o755)
    engine = Socket(tmp_path, kind)
    stack = make_stack(small, engine=engine, images={15: "localhost/x:15"})
    shown = judge.ask(stack, timeout=400)
    judge.expect(stack, shown, "errored", "engine_unavailable", "drill.socket")
    assert shown["manifest_sha256"], "it is stored all the same, and a later drill may seal it"


def test_no_image(make_stack, small, engine):
    stack = make_stack(small, engine=engine, images={15: "localhost/pgseal/nothing:15"})
    judge.expect(stack, judge.ask(stack), "errored", "image_missing", "localhost/pgseal/nothing:15", "drill.images")


def test_image_of_another_major(make_stack, small, engine):
    stack = make_stack(small, start=False, engine=engine, images={15: engine.image(17)})
    stack.start()
    judge.expect(stack, judge.ask(stack), "errored", "image_missing", "no PostgreSQL 15 server", "drill.images")


def test_extension_absent_from_image(make_stack, small, server, engine):
    """An extension the source has and the image lacks: made on the source by files of its own."""
    share = "/usr/share/postgresql/15/extension"
    files = {"pgseal_test.control": "default_version = '1'\nrelocatable = true\n",
             "pgseal_test--1.sql": "CREATE FUNCTION pgseal_test() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"}
    try:
        for name, text in files.items():
            pathlib.Path(share, name).write_text(text)
        server.sql("small", "CREATE EXTENSION pgseal_test")
        stack = make_stack(small, engine=engine, images={15: engine.image(15)})
        judge.expect(stack, judge.ask(stack), "errored", "extension_absent", "pgseal_test", "image")
    finally:
        server.sql("small", "DROP EXTENSION IF EXISTS pgseal_test")
        for name in files:
            pathlib.Path(share, name).unlink(missing_ok=True)


def test_no_drill_agent(make_stack, small):
    stack = make_stack(small, agents=("dump",), agent_wait_seconds=3)
    shown = judge.ask(stack)
    judge.expect(stack, shown, "errored", "no_agent", "drill")
    assert shown["manifest_sha256"], "it is stored all the same, and a later drill may seal it"


def test_repository_that_is_not_there_condemns_nothing(make_stack, small):
    stack = make_stack(small, start=False, agents=("dump", "drill"), agent_wait_seconds=60)
    stack.start_coordinator()
    stack.start_agent("dump")
    identity = stack.request("shop")
    wait_for("the dump", lambda: "manifest.json.cms" in stack.objects(stack.show(identity)))
    stack.repository.rename(stack.dir / "elsewhere")
    stack.repository.mkdir()  # as a mount point without its file system
    stack.start_agent("drill")
    judge.expect(stack, stack.wait_final(identity), "errored", ("unavailable", "repository_unavailable"), "holds nothing", "mounted")
