"""Hostile peers at the bus's TLS port, while a fleet works: nothing crashes, leaks or starves a good agent."""
import os
import pathlib
import socket
import ssl
import threading
import time

import pytest

from support.shell import BIN, open_files, run, wait_for

IDLE = 10000


def coordinator(stack):
    return pathlib.Path(f"/proc/{stack.running['coordinator'].pid}")


def descriptors(stack):
    return len(os.listdir(coordinator(stack) / "fd"))


def resident_mb(stack):
    return int((coordinator(stack) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def context(authority, identity=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.load_verify_locations(authority)
    if identity:
        c.load_cert_chain(identity)
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    return c


def greet(stack, authority, identity=None, then=b""):
    """What the server says after an SP greeting and `then`: 8 bytes and its end, if it lets us in."""
    with socket.create_connection(("127.0.0.1", stack.bus), timeout=20) as plain, context(authority, identity).wrap_socket(plain) as s:
        s.sendall(b"\0SP\0\0\x30\0\0" + then)
        got = b""
        while True:
            piece = s.recv(4096)
            if not piece or len(got) >= 8 and not then:
                return got
            got += piece
            if len(got) >= 8 and not then:
                return got


@pytest.fixture
def fleet(make_stack, server, monkeypatch):
    # its memory is measured: AddressSanitizer keeps up to 256 MB of what was freed, unless told
    monkeypatch.setenv("ASAN_OPTIONS", os.environ["ASAN_OPTIONS"] + ":quarantine_size_mb=8")
    server.create("hostile")
    server.sql("hostile", "CREATE TABLE item AS SELECT i, md5(i::text) AS t FROM generate_series(1, 5000) i")
    return make_stack({"prod-api": server.conninfo("hostile")}, agents=("dump+drill",), join=True, lease_seconds=10)


def test_who_has_no_good_certificate(fleet, base):
    good = fleet.dir / "joined-dump-drill/keys"
    assert greet(fleet, good / "ca.crt", good / "tls.pem")[:4] == b"\0SP\0"
    run([BIN / "pgseal-coordinator", "init", "--dir", base / "foreign", "--name", "localhost"])
    foreign = base / "foreign"
    identity = base / "foreign.pem"
    identity.write_bytes((foreign / "coordinator.key").read_bytes() + (foreign / "coordinator.crt").read_bytes())
    for bad in (None, identity):
        with pytest.raises(OSError):
            assert greet(fleet, good / "ca.crt", bad), "closed without a word"
            raise AssertionError("let in")
    # the coordinator's own: for servers alone
    own = base / "own.pem"
    own.write_bytes((fleet.dir / "deployment/coordinator.key").read_bytes() + (fleet.dir / "deployment/coordinator.crt").read_bytes())
    with pytest.raises(OSError):
        assert greet(fleet, good / "ca.crt", own)
    assert fleet.seal("prod-api")["state"] == "sealed"


def test_who_has_one_and_means_ill(fleet):
    """1 GB announced, in one message and by many; no REQ; messages cut short; garbage in good frames."""
    good = fleet.dir / "joined-dump-drill/keys"
    gigabyte = (1 << 30).to_bytes(8, "big")
    before = resident_mb(fleet)
    for then in (gigabyte + b"\x80\0\0\1", b"\xff" * 8, (5 << 20).to_bytes(8, "big") + bytes(1000)):
        for _ in range(10):
            try:
                assert greet(fleet, good / "ca.crt", good / "tls.pem", then)[8:] == b""
            except OSError:
                pass  # cut: as well
    for size in (0, 1, 3, 4, 5, 100):
        body = os.urandom(size)
        with socket.create_connection(("127.0.0.1", fleet.bus), timeout=20) as plain, \
                context(good / "ca.crt", good / "tls.pem").wrap_socket(plain) as s:
            s.sendall(b"\0SP\0\0\x30\0\0" + len(body).to_bytes(8, "big") + body)
    assert resident_mb(fleet) - before < 100
    assert fleet.seal("prod-api")["state"] == "sealed"


def test_silence(fleet):
    """Before it is admitted, a connection has some seconds; afterwards it may be silent for as long as it likes."""
    good = fleet.dir / "joined-dump-drill/keys"
    with socket.create_connection(("127.0.0.1", fleet.bus), timeout=40) as silent, \
            socket.create_connection(("127.0.0.1", fleet.bus), timeout=20) as plain, \
            context(good / "ca.crt", good / "tls.pem").wrap_socket(plain) as admitted:
        admitted.sendall(b"\0SP\0\0\x30\0\0")
        assert admitted.recv(8)[:4] == b"\0SP\0"
        begun = time.monotonic()
        try:
            assert silent.recv(1) == b""
        except ConnectionResetError:
            pass
        assert 5 < time.monotonic() - begun < 40
        admitted.settimeout(5)  # longer than the other one had, in any case
        with pytest.raises(TimeoutError):
            admitted.recv(1)


def test_ten_thousand_that_say_nothing(fleet, files):
    """Connected and silent, half a hello, half a record, from fifty addresses; whoever is thrown out comes back. The agent that
    is there works on, and a new one gets in."""
    held, stop = [], threading.Event()
    before, memory = descriptors(fleet), resident_mb(fleet)
    hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(40)
    said = [b"", hello, b"\x16", os.urandom(200), b"GET / HTTP/1.1\r\n\r\n"]

    def keep_coming():
        """Whoever is thrown out comes back."""
        while not stop.is_set():
            for i in range(IDLE):
                if stop.is_set():
                    return
                if i < len(held):
                    try:
                        if held[i].recv(1, socket.MSG_DONTWAIT) != b"":
                            continue
                    except BlockingIOError:
                        continue
                    except OSError:
                        pass
                    held[i].close()
                try:
                    s = socket.create_connection(("127.0.0.1", fleet.bus), timeout=10, source_address=(f"127.0.1.{i % 50 + 1}", 0))
                    s.sendall(said[i % len(said)])
                except OSError:
                    continue
                held[i:i + 1] = [s]
            stop.wait(0.2)

    thread = threading.Thread(target=keep_coming)
    thread.start()
    try:
        wait_for("the crowd", lambda: len(held) >= IDLE, timeout=120)
        begun = time.monotonic()
        assert fleet.seal("prod-api")["state"] == "sealed"
        fleet.agents["late"] = ["dump"]
        fleet.joins("late")
        fleet.start_agent("late")
        wait_for("an agent that joins in the crowd", lambda: any(a["name"] == "late" and a["live"] for a in fleet.api("GET", "/api/v1/agents")[1]["agents"]))
        assert time.monotonic() - begun < 120
        assert "more connections to the agents' port than there may be" in fleet.log("coordinator")
        grown = resident_mb(fleet) - memory
        assert grown < 1000, f"{grown} MB for {IDLE} connections"
    finally:
        stop.set()
        thread.join()
        for s in held:
            s.close()
    wait_for("their descriptors to be free again", lambda: descriptors(fleet) < before + 50, timeout=60)
    assert fleet.seal("prod-api", "after")["state"] == "sealed"


@pytest.fixture
def files():
    with open_files(IDLE + 500):
        yield


def test_garbage(fleet):
    for size in (1, 2, 5, 11, 100, 1000, 20000):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", fleet.bus), timeout=10) as s:
                try:
                    s.sendall(os.urandom(size))
                except OSError:
                    pass
    assert fleet.seal("prod-api")["state"] == "sealed"
    assert fleet.api("GET", "/healthz")[0] == 200
