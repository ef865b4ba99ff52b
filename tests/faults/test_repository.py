"""What must not be called proven is not: the right outcome, a clear message, a remedy, and nothing left behind."""
import shutil

import pytest

from support.shell import run, wait_for


@pytest.fixture
def shop(server):
    server.create("honest")
    server.sql("honest", "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 60000) i")
    return {"shop": server.conninfo("honest")}


def stored_but_undrilled(make_stack, shop, **options):
    """A checkpoint whose dump is stored while no drill agent runs yet; then the caller damages it and starts one."""
    stack = make_stack(shop, start=False, agents=("dump", "drill"), segment_mb=1, agent_wait_seconds=60, **options)
    stack.start_coordinator()
    stack.start_agent("dump")
    identity = stack.request("shop")
    wait_for("the dump", lambda: "manifest.json.cms" in stack.objects(stack.show(identity)))
    return stack, identity


def drilled(stack, identity):
    stack.start_agent("drill")
    return stack.wait_final(identity)


def expect(stack, shown, state, code):
    assert shown["state"] == state and shown["ok"] is False, (shown["state"], shown["error"])
    assert shown["error"]["code"] == code, shown["error"]
    assert shown["error"]["message"] and shown["error"]["remedy"]
    assert "sealed" not in [e["kind"].split(".")[-1] for e in stack.api("GET", f"/api/v1/ledger?checkpoint={shown['id']}")[1]["events"]]
    stack.assert_clean()


def test_undamaged_control(make_stack, shop):
    """The same set-up, undamaged, seals: so the failures below are due to the damage."""
    stack, identity = stored_but_undrilled(make_stack, shop)
    assert drilled(stack, identity)["state"] == "sealed"


@pytest.mark.parametrize("where", [40, -40, "middle"])
def test_flipped_bit_in_segment(make_stack, shop, where):
    stack, identity = stored_but_undrilled(make_stack, shop)
    segment = stack.objects(stack.show(identity))["000001.zst.cms"]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2 if where == "middle" else where] ^= 0x10
    segment.write_bytes(data)
    expect(stack, drilled(stack, identity), "failed", "segment_corrupt")


def test_altered_recipients_are_no_wrong_key(make_stack, shop):
    """CMS protects the content, not the list of recipients in front of it: an object that our key does not open because of
    that was altered, and the key is right."""
    stack, identity = stored_but_undrilled(make_stack, shop)
    segment = stack.objects(stack.show(identity))["000000.zst.cms"]
    data = bytearray(segment.read_bytes())
    certificate = run(["openssl", "x509", "-in", stack.dir / "keys/drill.crt", "-noout", "-serial"]).stdout
    serial = bytes.fromhex(certificate.strip().split("=")[1])
    at = data.find(serial, 0, 4000)
    assert at > 0, "the recipient is named by its certificate's serial number"
    data[at + 2] ^= 1
    segment.write_bytes(data)
    expect(stack, drilled(stack, identity), "failed", "segment_corrupt")


def test_repository_that_is_not_there_condemns_nothing(make_stack, shop):
    stack, identity = stored_but_undrilled(make_stack, shop)
    stack.repository.rename(stack.dir / "elsewhere")
    stack.repository.mkdir()  # as a mount point without its file system
    shown = drilled(stack, identity)
    assert "holds nothing" in shown["error"]["message"] and "mounted" in shown["error"]["remedy"]
    expect(stack, shown, "errored", "unavailable")


def test_truncated_segment(make_stack, shop):
    stack, identity = stored_but_undrilled(make_stack, shop)
    segment = stack.objects(stack.show(identity))["000001.zst.cms"]
    segment.write_bytes(segment.read_bytes()[:-100])
    expect(stack, drilled(stack, identity), "failed", "segment_corrupt")


def test_missing_segment(make_stack, shop):
    stack, identity = stored_but_undrilled(make_stack, shop)
    stack.objects(stack.show(identity))["000001.zst.cms"].unlink()
    expect(stack, drilled(stack, identity), "failed", "segment_missing")


def test_swapped_segments(make_stack, shop):
    stack, identity = stored_but_undrilled(make_stack, shop)
    objects = stack.objects(stack.show(identity))
    one, two = objects["000000.zst.cms"], objects["000001.zst.cms"]
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b)
    two.write_bytes(a)
    shown = drilled(stack, identity)
    assert shown["state"] == "failed", shown["error"]
    stack.assert_clean()


def test_altered_manifest(make_stack, shop):
    stack, identity = stored_but_undrilled(make_stack, shop)
    manifest = stack.objects(stack.show(identity))["manifest.json.cms"]
    data = bytearray(manifest.read_bytes())
    data[len(data) // 2] ^= 1
    manifest.write_bytes(data)
    expect(stack, drilled(stack, identity), "failed", "manifest_invalid")


def test_wrong_decryption_key(make_stack, shop):
    stack, identity = stored_but_undrilled(make_stack, shop)
    stack.write_agent("drill", keys={"recipients": ["keys/drill.crt"], "decryption_key": "keys/foreign.key",
                                     "decryption_certificate": "keys/foreign.crt"})
    expect(stack, drilled(stack, identity), "errored", "key_mismatch")
    # Nothing was condemned: with the right key, a later drill seals it.
    stack.kill("drill", 15)
    stack.write_agent("drill")
    stack.start_agent("drill")
    assert stack.cli("drill", identity).returncode == 0
    assert stack.show(identity)["state"] == "sealed"


def test_missing_role(make_stack, shop, server):
    server.sql("honest", "DROP ROLE IF EXISTS absent_role; CREATE ROLE absent_role; GRANT SELECT ON t TO absent_role")
    try:
        stack = make_stack(shop, roles="none")
        shown = stack.refuse("shop", "failed", "role_missing")
        assert "absent_role" in shown["error"]["message"]
        stack.assert_clean()
    finally:
        server.sql("honest", "DROP OWNED BY absent_role; DROP ROLE absent_role")


def test_extension_absent_from_image(make_stack, shop, server, engine):
    """An extension the source has and the image lacks: made on the source by files of its own."""
    share = "/usr/share/postgresql/15/extension"
    with open(f"{share}/pgseal_test.control", "w") as f:
        f.write("default_version = '1'\nrelocatable = true\n")
    with open(f"{share}/pgseal_test--1.sql", "w") as f:
        f.write("CREATE FUNCTION pgseal_test() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
    try:
        server.sql("honest", "CREATE EXTENSION pgseal_test")
        stack = make_stack(shop, engine=engine, images={15: engine.image(15)})
        shown = stack.refuse("shop", "errored", "extension_absent")
        assert "pgseal_test" in shown["error"]["message"]
        stack.assert_clean()
    finally:
        server.sql("honest", "DROP EXTENSION IF EXISTS pgseal_test")
        for name in ("pgseal_test.control", "pgseal_test--1.sql"):
            shutil.os.unlink(f"{share}/{name}")


def test_unreadable_table(make_stack, server):
    server.create("honest")
    server.sql("honest", "DROP ROLE IF EXISTS limited; CREATE ROLE limited LOGIN; CREATE TABLE open_t (a int); GRANT SELECT ON open_t TO limited; "
                         "CREATE TABLE \"secret \"\"t\"\"\" (a int)")
    stack = make_stack({"shop": server.conninfo("honest", user="limited")})
    shown = stack.refuse("shop", "failed", "table_unreadable")
    assert "secret" in shown["error"]["message"] + shown["error"]["object"] and "GRANT" in shown["error"]["remedy"]
    stack.assert_clean()


def test_row_security(make_stack, server):
    server.create("honest")
    server.sql("honest", "DROP ROLE IF EXISTS filtered; CREATE ROLE filtered LOGIN; CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); "
                         "GRANT SELECT ON t TO filtered; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (a = 1)")
    stack = make_stack({"shop": server.conninfo("honest", user="filtered")})
    stack.refuse("shop", "failed", "row_security")


def test_violated_foreign_key(make_stack, shop, server):
    server.sql("honest", "CREATE TABLE c (t int REFERENCES t); SET session_replication_role = replica; INSERT INTO c VALUES (-5)")
    stack = make_stack(shop)
    shown = stack.refuse("shop", "failed", "restore_object_lost")
    assert "c_t_fkey" in shown["error"]["message"] + shown["error"]["object"]
    stack.assert_clean()


def test_failed_assertion(make_stack, shop):
    stack = make_stack(shop, assertions=[{"name": "enough rows", "sql": "SELECT count(*) > 1000000 FROM t"}])
    shown = stack.refuse("shop", "failed", "assertion_failed")
    assert "enough rows" in shown["error"]["message"] + shown["error"]["object"]


def test_wrong_password_and_unreachable(make_stack, server, base):
    stack = make_stack({"gone": "host=/nonexistent dbname=x user=x password=hunter2secret connect_timeout=2"})
    shown = stack.refuse("gone", "errored", "database_unreachable")
    assert "hunter2secret" not in str(shown)
    assert all("hunter2secret" not in stack.log(n) for n in ("coordinator", "dump-drill"))


def test_no_drill_agent(make_stack, shop):
    stack = make_stack(shop, agents=("dump",), agent_wait_seconds=4)
    shown = stack.refuse("shop", "errored", "no_agent")
    assert shown["manifest_sha256"], "it is stored all the same, and a later drill may seal it"
