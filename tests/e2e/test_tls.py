"""TLS of the HTTP API: whom it is for, a certificate that changes under running requests, and what a client is told."""
import json
import signal
import socket
import ssl

import pytest

from support.shell import run, wait_for
from support.stack import BIN


@pytest.fixture
def stack(make_stack):
    """No agent: nothing is dumped here."""
    return make_stack({"shop": "dbname=unused"}, agents=(), tls=True, agent_wait_seconds=600)


def subject(stack):
    with stack.connect(timeout=10) as s:
        return dict(part[0] for part in s.getpeercert()["subject"])["commonName"]


def pgseal(stack, *argv, url=None, ca=None):
    env = {"PATH": "/usr/bin:/bin", "PGSEAL_URL": url or stack.url, "PGSEAL_TOKEN": stack.token, "NO_COLOR": "1"}
    return run([BIN / "pgseal", *argv, *(["--ca-file", ca] if ca else [])], check=False, env=env)


def test_a_new_certificate_cuts_nobody(stack):
    """By the files' change and by SIGHUP; a stream and a request that waits go on with what they began with."""
    identity = stack.request("shop", "waits")
    head = f"Host: x\r\nAuthorization: Bearer {stack.token}\r\n"
    stream, waiting = stack.connect(), stack.connect()
    stream.sendall(f"GET /api/v1/events HTTP/1.1\r\n{head}\r\n".encode())
    body = json.dumps({"database": "shop", "tag": "waits too"})
    waiting.sendall(f"POST /api/checkpoint HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    wait_for("both to be asked for", lambda: len(stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"]) == 2)
    assert subject(stack) == "api"
    stack.tls.issue(subject="second")
    stack.running["coordinator"].send_signal(signal.SIGHUP)
    wait_for("the second certificate", lambda: subject(stack) == "second", timeout=12)  # before it would look by itself
    stack.tls.issue(subject="third")
    wait_for("the third certificate", lambda: subject(stack) == "third", timeout=40)
    for one in stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"]:
        assert stack.api("POST", f"/api/v1/checkpoints/{one['id']}/cancel")[0] == 202
    got = b""
    while identity.encode() not in got or b"checkpoint.canceled" not in got:
        piece = stream.recv(65536)
        assert piece, got
        got += piece
    assert waiting.recv(65536).startswith(b"HTTP/1.1 409 ")


def test_what_does_not_fit_is_not_taken(stack):
    stack.tls.issue(name="other")
    (stack.dir / "tls/other.key").rename(stack.tls.key)
    wait_for("it to be told", lambda: "is not that of the certificate" in stack.log("coordinator"), timeout=40)
    stack.running["coordinator"].send_signal(signal.SIGHUP)
    stack.tls.key.write_text("no key")
    wait_for("it to be told", lambda: "no private key" in stack.log("coordinator"), timeout=40)
    assert subject(stack) == "api" and stack.api("GET", "/api/v1/databases")[0] == 200
    check = run([BIN / "pgseal-coordinator", "check", "--config", stack.dir / "coordinator.yaml"], check=False)
    assert check.returncode == 1 and "no private key" in check.stderr
    stack.tls.issue(subject="mended")
    wait_for("the new one", lambda: subject(stack) == "mended", timeout=40)


def test_a_client_is_told_what_to_do(stack):
    ca = stack.tls.ca
    assert pgseal(stack, "databases", ca=ca).returncode == 0
    unknown = pgseal(stack, "databases")
    assert unknown.returncode == 3 and "CA that is not known here" in unknown.stderr and "--ca-file" in unknown.stderr
    plain = pgseal(stack, "databases", url=stack.url.replace("https", "http"))
    assert plain.returncode == 3 and "https://" in plain.stderr, plain.stderr
    missing = pgseal(stack, "databases", ca=stack.dir / "none.crt")
    assert missing.returncode == 2 and "none.crt" in missing.stderr and "PEM" in missing.stderr
    stack.tls.issue(names="DNS:elsewhere.example")
    stack.running["coordinator"].send_signal(signal.SIGHUP)
    name = wait_for("the new name", lambda: (lambda done: done if done.returncode == 3 else None)(pgseal(stack, "databases", ca=ca)))
    assert "is for another" in name.stderr and "subjectAltName" in name.stderr, name.stderr
    stack.tls.issue(expired=True)
    stack.running["coordinator"].send_signal(signal.SIGHUP)
    wait_for("it to be told", lambda: "has expired" in stack.log("coordinator"))
    expired = pgseal(stack, "databases", ca=ca)
    assert expired.returncode == 3 and "has expired" in expired.stderr and "new certificate" in expired.stderr, expired.stderr


def test_a_server_without_tls(make_stack):
    stack = make_stack({"shop": "dbname=unused"}, agents=())
    done = pgseal(stack, "databases", url=stack.url.replace("http", "https"))
    assert done.returncode == 3 and "does not speak TLS" in done.stderr, done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(stack, version):
    context = stack.tls.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    with socket.create_connection(("127.0.0.1", stack.http)) as s, pytest.raises(OSError):
        context.wrap_socket(s, server_hostname="127.0.0.1")
    assert stack.api("GET", "/healthz")[0] == 200


def test_off_loopback_wants_tls(stack):
    """Refused at the start, unless consented to by name."""
    text = json.loads((stack.dir / "coordinator.yaml").read_text())
    path = stack.dir / "plain.yaml"
    path.write_text(json.dumps({**text, "http": "0.0.0.0:8420", "tls": {}}))
    check = [BIN / "pgseal-coordinator", "check", "--config", path]
    done = run(check, check=False)
    assert done.returncode == 1 and "there is no TLS" in done.stderr and "http_unencrypted: true" in done.stderr
    path.write_text(json.dumps({**text, "http": "0.0.0.0:8420", "tls": {}, "http_unencrypted": True}))
    assert run(check, check=False).returncode == 0
