"""What one client can take from the others, over HTTP and over TLS: thousands of idle connections, slow requests, storms."""
import socket
import time

import pytest

from support.shell import open_files, wait_for

CROWD = 5000  # more than the coordinator serves at once


@pytest.fixture(params=["http", "https"])
def stack(request, make_stack):
    return make_stack({"shop": "dbname=unused"}, agents=(), tls=request.param == "https", agent_wait_seconds=600)


@pytest.fixture
def files():
    with open_files(CROWD + 200):
        yield


def ask(stack, source):
    """One request on a connection of its own; how long it took."""
    begun = time.monotonic()
    with stack.connect(timeout=30, source=source) as s:
        s.sendall(f"GET /api/v1/databases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.token}\r\nConnection: close\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 200 "), source
    return time.monotonic() - begun


def test_idle_connections_do_not_starve_anybody(stack, files):
    said = [b"", b"GET /", b"POST /api/checkpoint HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"\x16\x03\x01\x02\x00\x01"]
    held, worst = [], 0
    waiting = stack.connect()
    body = b'{"database": "shop", "tag": "waits"}'
    waiting.sendall(b"POST /api/checkpoint HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                    % (stack.token.encode(), len(body), body))
    checkpoint = wait_for("the request", lambda: stack.api("GET", "/api/v1/checkpoints")[1]["checkpoints"])[0]["id"]
    for i in range(CROWD):
        s = socket.create_connection(("127.0.0.1", stack.http), timeout=30, source_address=(f"127.0.1.{i % 16 + 1}", 0))
        s.setblocking(False)
        try:
            s.send(said[i % len(said)])
        except OSError:  # it was cut at once
            pass
        held.append(s)
        if i % 250 == 0:
            worst = max(worst, ask(stack, f"127.0.1.{i % 16 + 1}"), ask(stack, "127.0.0.1"))
    worst = max(worst, *(ask(stack, f"127.0.1.{i}") for i in range(1, 17)))
    assert worst < 10, worst
    assert stack.api("POST", f"/api/v1/checkpoints/{checkpoint}/cancel")[0] == 202
    assert waiting.recv(4096).startswith(b"HTTP/1.1 409 ")
    for s in held:
        s.close()
    assert ask(stack, "127.0.0.1") < 10


def test_a_byte_a_second_is_cut(make_stack):
    """In the head, in the body and (with TLS) in the handshake; each within a bound, and nobody waits for it."""
    stacks = [make_stack({"shop": "dbname=unused"}, agents=(), tls=tls) for tls in (False, True)]
    alive, begun = set(), time.monotonic()
    for stack in stacks:
        head, body, raw = stack.connect(), stack.connect(), socket.create_connection(("127.0.0.1", stack.http))
        head.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        body.sendall(b"POST /api/checkpoint HTTP/1.1\r\nContent-Length: 9999\r\n\r\n{")
        raw.sendall(b"\x16\x03\x01\x40\x00" if stack.tls else b"GET ")
        alive |= {head, body, raw}
    while alive and time.monotonic() - begun < 60:
        for s in list(alive):
            try:
                s.sendall(b"x")
                s.settimeout(0.01)
                if s.recv(100) == b"":
                    alive.discard(s)
            except TimeoutError:
                pass
            except OSError:
                alive.discard(s)
        assert all(ask(stack, "127.0.0.1") < 5 for stack in stacks)
        time.sleep(1)
    assert not alive and time.monotonic() - begun < 50


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(stack):
    begun = time.monotonic()
    for _ in range(2000):
        status, answer, headers = stack.api("GET", "/api/v1/databases", token="wrong")
        if status == 429:
            break
    assert status == 429 and answer["error"]["code"] == "too_many" and int(headers["Retry-After"]) >= 1
    assert stack.api("GET", "/api/v1/databases")[0] == 200
    windows = 2 + (time.monotonic() - begun) // 10
    assert 20 <= stack.log("coordinator").count("msg=denied") <= 20 * windows  # however many there were


def test_pgseal_waits_when_told_to(make_stack):
    stack = make_stack({"shop": "dbname=unused"}, agents=(), http_limits={"requests_per_second": 1})
    for _ in range(3):
        told = wait_for("a refusal", lambda: (lambda answer: answer[0] == 429 and answer)(stack.api("GET", "/api/v1/databases")), every=0)
        assert 1 <= int(told[2]["Retry-After"]) <= 2
        assert "shop" in stack.cli("databases").stdout
