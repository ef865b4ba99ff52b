"""Agents that join by invitation, over TLS: enrolled, renewed, revoked, and what is refused to whom."""
import http.server
import json
import os
import re
import signal
import socket
import ssl
import stat
import threading
import time
import urllib.error
import urllib.request

import pytest

from support.shell import BIN, free_port, run, wait_for


def shop(server, name, rows=2000):
    server.create(name)
    server.sql(name, f"CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item SELECT i, md5(i::text) FROM generate_series(1, {rows}) i")
    return server.conninfo(name)


def takes(server, name, seconds):
    """An assertion of that database's drill takes so long, of the checkpoints from now on."""
    server.sql(name, f"DROP TABLE IF EXISTS pace; CREATE TABLE pace AS SELECT {seconds} AS seconds")
    return [{"name": "takes a while", "sql": "SELECT pg_sleep(seconds) IS NOT NULL FROM pace"}]


def agent(stack, name):
    return {a["name"]: a for a in stack.api("GET", "/api/v1/agents")[1]["agents"]}[name]


def events(stack, kind):
    return [e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"] == kind]


def live(stack, name):
    return wait_for(f"{name} to be live", lambda: agent(stack, name)["live"])


def test_init_overwrites_nothing(base):
    place = base / "init"
    done = run([BIN / "pgseal-coordinator", "init", "--dir", place, "--name", "pgseal.example.org"])
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in place.iterdir()}
    assert set(modes) == {"ca.key", "ca.crt", "coordinator.key", "coordinator.crt", "token", "signing.key", "signing.pub", "coordinator.yaml"}
    assert all(modes[n] == 0o600 for n in ("ca.key", "coordinator.key", "signing.key", "token", "coordinator.yaml"))
    before = {p.name: p.read_bytes() for p in place.iterdir()}
    again = run([BIN / "pgseal-coordinator", "init", "--dir", place], check=False)
    assert again.returncode == 1 and "exists already" in again.stderr
    assert {p.name: p.read_bytes() for p in place.iterdir()} == before
    assert run([BIN / "pgseal-coordinator", "check", "--config", place / "coordinator.yaml"]).returncode == 0
    shown = run(["openssl", "x509", "-in", place / "coordinator.crt", "-noout", "-ext", "subjectAltName,extendedKeyUsage"]).stdout
    assert "pgseal.example.org" in shown and "Server Authentication" in shown
    fingerprint = re.search(r"fingerprint: ([0-9a-f]{64})", done.stdout).group(1)
    der = run(["openssl", "x509", "-in", place / "ca.crt", "-noout", "-fingerprint", "-sha256"]).stdout
    assert der.split("=")[1].strip().replace(":", "").lower() == fingerprint
    (place / "coordinator.key").write_bytes((place / "ca.key").read_bytes())
    half = run([BIN / "pgseal-coordinator", "check", "--config", place / "coordinator.yaml"], check=False)
    assert half.returncode == 1 and "does not belong" in half.stderr and "pgseal-coordinator certificate" in half.stderr
    (place / "coordinator.crt").unlink()
    bad = run([BIN / "pgseal-coordinator", "check", "--config", place / "coordinator.yaml"], check=False)
    assert bad.returncode == 1 and "coordinator.crt" in bad.stderr


def test_init_makes_all_or_nothing(base):
    place = base / "init-half"
    bad = run([BIN / "pgseal-coordinator", "init", "--dir", place, "--name", "good", "--name", "bad_name"], check=False)
    assert bad.returncode == 1 and "bad_name" in bad.stderr and (not place.exists() or not list(place.iterdir()))
    # a limit of the size of files, between those of ca.crt and of coordinator.crt
    full = run(["prlimit", "--fsize=650", BIN / "pgseal-coordinator", "init", "--dir", place], check=False, preexec_fn=ignore_full)
    assert full.returncode == 1 and not list(place.iterdir()), (full.stderr, list(place.iterdir()))
    run([BIN / "pgseal-coordinator", "init", "--dir", place, "--name", "good"])
    run([BIN / "pgseal-coordinator", "check", "--config", place / "coordinator.yaml"])
    # a new certificate that cannot be put in place of the old one: the old one's key stays
    key = (place / "coordinator.key").read_bytes()
    (place / "coordinator.crt").rename(place / "kept")
    (place / "coordinator.crt").mkdir()
    stuck = run([BIN / "pgseal-coordinator", "certificate", "--config", place / "coordinator.yaml", "--name", "good"], check=False)
    assert stuck.returncode == 1 and (place / "coordinator.key").read_bytes() == key, stuck.stderr
    (place / "coordinator.crt").rmdir()
    (place / "kept").rename(place / "coordinator.crt")
    run([BIN / "pgseal-coordinator", "certificate", "--config", place / "coordinator.yaml", "--name", "good"])
    run([BIN / "pgseal-coordinator", "check", "--config", place / "coordinator.yaml"])
    assert (place / "coordinator.key").read_bytes() != key and not (place / "coordinator.key.old").exists()


def ignore_full():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.parametrize("bus", ["tcp://0.0.0.0:8421", "tcp://10.0.0.1:8421", "tcp://db.example.org:8421", "ws://127.0.0.1:8421"])
def test_off_loopback_plain_is_refused(base, bus):
    path = base / "plain.yaml"
    path.write_text(f"bus: {bus}\n")
    done = run([BIN / "pgseal-coordinator", "check", "--config", path], check=False)
    assert done.returncode == 1 and "tls+tcp://" in done.stderr, done.stderr


def test_joins_seals_and_keeps_its_keys(make_stack, server):
    stack = make_stack({"prod-api": shop(server, "join_shop")}, agents=("dump", "drill"), join=True)
    sealed = stack.seal("prod-api")
    assert sealed["state"] == "sealed"
    shown = agent(stack, "dump")
    assert shown["state"] == "enrolled" and shown["live"] and shown["expires_at"] and shown["allowed_capabilities"] == ["dump"]
    assert "dump" in stack.cli("agents").stdout
    for name in ("dump", "drill"):
        keys = stack.dir / f"joined-{name}/keys"
        assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in keys.iterdir()} == {
            "signing.key": 0o600, "signing.pub": 0o600, "tls.pem": 0o600, "ca.crt": 0o644}
    # the invitation is worth nothing any more, and neither it nor a key is written anywhere
    used = (stack.dir / "dump.invitation").read_text().strip()
    again = stack.enroll("dump", stack.dir / "dump.invitation", check=False, place="thief")
    assert again.returncode == 1 and "used" in again.stderr
    everything = stack.log("coordinator") + stack.log("dump") + (stack.dir / "ledger.db").read_bytes().decode("latin-1")
    secrets = [used, used.split("_", 2)[2]] + [l for l in (stack.dir / "joined-dump/keys/tls.pem").read_text().split("-----")[2].split("\n") if l]
    assert not [s for s in secrets if s in everything]
    events = {e["kind"]: e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]}
    assert events["agent.invited"]["actor"] == "admin"
    assert events["agent.invited"]["detail"]["address"] == events["agent.enrolled"]["detail"]["address"] == "127.0.0.1"
    stack.assert_clean()


def test_invitations_are_checked(make_stack, server):
    stack = make_stack({"prod-api": shop(server, "join_checks")}, agents=(), join=True)
    wrong = [{}, {"name": "x"}, {"name": "X!", "capabilities": ["dump"], "databases": ["*"]},
             {"name": "x", "capabilities": ["fly"], "databases": ["*"]}, {"name": "x", "capabilities": ["dump", "dump"], "databases": ["*"]},
             {"name": "x", "capabilities": ["dump"], "databases": []}, {"name": "x", "capabilities": ["dump"], "databases": ["a\nb"]},
             {"name": "x", "capabilities": ["dump"], "databases": ["*"], "expires_seconds": 0},
             {"name": "x", "capabilities": ["dump"], "databases": ["*"], "admin": True}, {"name": 1, "capabilities": {}, "databases": 2}]
    for body in wrong:
        status, answer, _ = stack.api("POST", "/api/v1/agents", body)
        assert status == 400 and answer["error"]["code"] == "invalid_argument", (body, answer)
    ci = stack.api("POST", "/api/v1/tokens", {"name": "pipeline", "role": "ci"})[1]["token"]
    good = {"name": "x", "capabilities": ["dump"], "databases": ["*"]}
    assert stack.api("POST", "/api/v1/agents", good, token=ci)[0] == 403
    assert stack.api("DELETE", "/api/v1/agents/x", token=ci)[0] == 403
    assert stack.api("DELETE", "/api/v1/agents/x")[0] == 404
    # one that has expired; one that was replaced; one that was revoked before it was used
    short = stack.invite("x", ["dump"], expires="1s")
    wait_for("the invitation to run out", lambda: agent(stack, "x")["state"] == "expired")
    assert "expired" in stack.enroll("x", short, check=False).stderr
    first = stack.invite("x", ["dump"]).read_text()
    stack.invite("x", ["dump"])
    (stack.dir / "first").write_text(first)
    assert stack.enroll("x", stack.dir / "first", check=False, place="p1").returncode == 1
    stack.cli("agent", "revoke", "x")
    assert stack.enroll("x", stack.dir / "x.invitation", check=False, place="p2").returncode == 1
    # an invitation of another deployment: nothing is shown to this coordinator
    token = stack.invite("x", ["dump"])
    text = token.read_text()
    token.write_text(text.replace(text.split("_")[1], "0" * 64))
    other = stack.enroll("x", token, check=False, place="p3")
    assert other.returncode == 1 and "authority" in other.stderr
    assert agent(stack, "x")["state"] == "invited"
    # and to nobody over plain HTTP
    far = run([BIN / "pgseal-agent", "enroll", "--coordinator", "http://10.1.2.3:8420", "--token-file", token, "--dir", stack.dir / "p4"], check=False)
    assert far.returncode == 2 and "https" in far.stderr
    # nor to a proxy that the environment names
    proxy = f"http://127.0.0.1:{free_port()}"
    token.write_text(text)
    near = run([BIN / "pgseal-agent", "enroll", "--coordinator", stack.url, "--token-file", token, "--dir", stack.dir / "p5"],
               env={**os.environ, "http_proxy": proxy, "all_proxy": proxy, "ALL_PROXY": proxy, "no_proxy": "", "NO_PROXY": ""})
    assert near.returncode == 0 and agent(stack, "x")["state"] == "enrolled"


class Swallows(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a coordinator, and keeps the answers to the first enrolments to itself."""
    def do_GET(self):
        self.passed_on(None)

    def do_POST(self):
        self.passed_on(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1

    def passed_on(self, body):
        try:
            answer = urllib.request.urlopen(urllib.request.Request(self.server.upstream + self.path, body, {"Content-Type": "application/json"}))
        except urllib.error.HTTPError as refusal:
            answer = refusal
        data = answer.read()
        if body and self.server.asked < 2:
            return  # closes
        self.send_response(answer.status)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def test_the_answer_is_lost(make_stack):
    """The invitation is spent, and nobody was told: run again, it ends as if nothing had been."""
    stack = make_stack({"prod-api": "dbname=unused"}, agents=(), join=True)
    token = stack.invite("x", ["dump"])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Swallows) as between:
        between.upstream, between.asked = stack.url, 0
        threading.Thread(target=between.serve_forever, daemon=True).start()
        command = [BIN / "pgseal-agent", "enroll", "--coordinator", f"http://127.0.0.1:{between.server_port}", "--token-file", token]
        for _ in range(2):
            lost = run([*command, "--dir", stack.dir / "x"], check=False)
            assert lost.returncode == 1 and "again" in lost.stderr and agent(stack, "x")["state"] == "enrolled", lost.stderr
        thief = run([*command, "--dir", stack.dir / "thief"], check=False)
        assert thief.returncode == 1 and "used" in thief.stderr
        run([*command, "--dir", stack.dir / "x"])
        between.shutdown()
    keys = stack.dir / "x/keys"
    assert {p.name for p in keys.iterdir()} == {"signing.key", "signing.pub", "tls.pem", "ca.crt"}
    run(["openssl", "verify", "-CAfile", keys / "ca.crt", keys / "tls.pem"])
    stack.agents["x"] = ["dump"]
    stack.write_agent("x", place="x")
    stack.start_agent("x")
    live(stack, "x")
    assert len(events(stack, "agent.enrolled")) == 1


def test_joins_over_https(make_stack):
    """The token is shown to a server of --http-ca, or of the deployment's own authority, and to no other."""
    stack = make_stack({"prod-api": "dbname=unused"}, agents=(), join=True, tls=True)
    token = stack.invite("x", ["dump"])
    pinned = [BIN / "pgseal-agent", "enroll", "--coordinator", stack.url, "--token-file", token, "--dir", stack.dir / "pinned"]
    refused = run(pinned, check=False)
    assert refused.returncode == 1 and "--http-ca" in refused.stderr, "its HTTPS has a certificate of another authority"
    assert agent(stack, "x")["state"] == "invited"
    stack.enroll("x", token)
    assert agent(stack, "x")["state"] == "enrolled"
    # the coordinator's own certificate will do for its HTTPS, and then nothing has to be named
    config = json.loads((stack.dir / "coordinator.yaml").read_text())
    config["tls"] = {"certificate": "deployment/coordinator.crt", "key": "deployment/coordinator.key"}
    (stack.dir / "coordinator.yaml").write_text(json.dumps(config))
    stack.tls.ca = stack.dir / "deployment/ca.crt"
    stack.kill("coordinator", signal.SIGTERM)
    stack.start_coordinator()
    stack.cli("agent", "revoke", "x")
    again = stack.invite("x", ["dump"])
    run([*pinned[:5], again, *pinned[6:]])
    assert agent(stack, "x")["state"] == "enrolled"


def test_revoked_at_once(make_stack, server):
    """A drill agent is thrown out in mid-drill: its session ends, its certificate opens nothing, its job goes to another."""
    stack = make_stack({"prod-api": shop(server, "join_revoked", 30000)}, agents=("dump",), join=True, lease_seconds=60,
                       assertions=[{"name": "takes a while", "sql": "SELECT pg_sleep(6) IS NOT NULL"}], agent_wait_seconds=60)
    stack.agents["bad"] = stack.agents["good"] = ["drill"]
    stack.joins("bad")
    stack.joins("good")
    stack.start_agent("bad")
    identity = stack.request("prod-api")
    wait_for("bad to drill", lambda: [j for j in agent(stack, "bad")["jobs"]])
    certificate = stack.dir / "deployment/coordinator.crt"
    text = certificate.read_text()
    certificate.write_text("")  # it is being replaced just now: a revocation does not wait for that
    said = stack.cli("agent", "revoke", "bad").stdout
    assert "revoked" in said
    wait_for("the bus to be open again", lambda: let_in(stack, "joined-good"))
    assert not let_in(stack, "joined-bad")
    certificate.write_text(text)
    shown = agent(stack, "bad")
    assert shown["state"] == "revoked" and not shown["live"] and not shown["jobs"]
    stack.start_agent("good")
    live(stack, "good")
    begun = time.monotonic()
    final = stack.wait_final(identity, timeout=90)
    assert final["state"] == "sealed" and final["detail"]["drill_agent"] == "good", final
    assert time.monotonic() - begun < 50, "its lease of a minute was not waited for"
    joined = stack.log("coordinator").count('msg="agent joined" agent=bad')
    stack.kill("bad", signal.SIGTERM)
    stack.start_agent("bad")
    with pytest.raises(OSError):
        handshake(stack, "joined-bad")
    handshake(stack, "joined-good")
    # the restarted coordinator knows it too
    stack.kill("coordinator", signal.SIGTERM)
    stack.start_coordinator()
    live(stack, "good")
    with pytest.raises(OSError):
        handshake(stack, "joined-bad")
    assert stack.log("coordinator").count('msg="agent joined" agent=bad') == joined
    # it comes back by another invitation, but not with its old key
    token = stack.invite("bad", ["drill"])
    refused = stack.enroll("bad", token, check=False)
    assert refused.returncode == 1 and "signing key" in refused.stderr
    stack.enroll("bad", token, place="joined-anew")
    stack.write_agent("bad", place="joined-anew")
    stack.kill("bad", signal.SIGTERM)
    stack.start_agent("bad")
    live(stack, "bad")


def handshake(stack, place, keys=None, port=None):
    """A TLS connection with this agent's certificate, up to the server's SP greeting."""
    keys = keys or stack.dir / place / "keys"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(keys / "ca.crt")
    context.load_cert_chain(keys / "tls.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", port or stack.bus), timeout=10) as plain, context.wrap_socket(plain) as s:
        s.sendall(b"\0SP\0\0\x30\0\0")
        greeting = s.recv(8)
        if not greeting:
            raise OSError("closed")
        assert greeting[:4] == b"\0SP\0"


def let_in(stack, place):
    try:
        handshake(stack, place)
    except OSError:
        return False
    return True


def test_certificates_rotate_in_a_running_fleet(make_stack, server):
    """The agents' every few seconds, the coordinator's once, with a job under way all the time."""
    stack = make_stack({"prod-api": shop(server, "join_rotates", 20000)}, agents=("dump", "drill"), join=True, agent_certificate_seconds=24,
                       lease_seconds=15, assertions=takes(server, "join_rotates", 20))
    before = {n: (stack.dir / f"joined-{n}/keys/tls.pem").read_text() for n in ("dump", "drill")}
    identity = stack.request("prod-api")
    wait_for("a renewal of each", lambda: {e["agent"] for e in events(stack, "agent.certificate_in_use")} >= {"dump", "drill"})
    run([BIN / "pgseal-coordinator", "certificate", "--config", stack.dir / "coordinator.yaml", "--name", "127.0.0.1"])
    stack.running["coordinator"].send_signal(signal.SIGHUP)
    wait_for("the new certificate", lambda: "certificates are read anew" in stack.log("coordinator"))
    final = stack.wait_final(identity, timeout=90)
    assert final["state"] == "sealed", final
    assert [j["attempt"] for j in final["jobs"]] == [1, 1], "no job was lost"
    for name in before:
        assert (stack.dir / f"joined-{name}/keys/tls.pem").read_text() != before[name]
    for pem in before.values():
        (stack.dir / "first.pem").write_text(pem)
        ends = run(["openssl", "x509", "-noout", "-enddate", "-in", stack.dir / "first.pem"]).stdout.split("=")[1].strip()
        wait_for("the first certificates to run out", lambda: ssl.cert_time_to_seconds(ends) < time.time())
    assert agent(stack, "dump")["state"] in ("enrolled", "renewing")
    takes(server, "join_rotates", 0)
    assert stack.seal("prod-api", "later")["state"] == "sealed"
    stack.assert_clean()


def test_an_expired_agent_is_out(make_stack, server):
    stack = make_stack({"prod-api": shop(server, "join_expired")}, agents=("dump+drill",), join=True, agent_certificate_seconds=10)
    name = "dump-drill"
    stack.kill(name, signal.SIGTERM)
    wait_for("its certificate to run out", lambda: agent(stack, name)["state"] == "expired")
    done = run([BIN / "pgseal-agent", "--config", stack.dir / f"{name}.yaml"], check=False, timeout=30)
    assert done.returncode == 2 and "ran out" in done.stderr and "invite" in done.stderr
    stack.kill("coordinator", signal.SIGTERM)
    stack.options["agent_certificate_seconds"] = 3600
    stack.write_coordinator()
    stack.start_coordinator()
    stack.joins(name)  # the same key: it was never revoked
    stack.start_agent(name)
    assert stack.seal("prod-api")["state"] == "sealed"


def test_two_coordinators_one_dies(make_stack, server):
    """Both of one deployment, over one ledger: the second one starts when the first is dead. The job under way goes on."""
    other = free_port()
    stack = make_stack({"prod-api": shop(server, "join_two", 20000)}, agents=("dump", "drill"), join=True, start=False, lease_seconds=15,
                       assertions=takes(server, "join_two", 6))
    stack.options["buses"] = [other, stack.bus]
    stack.start()
    identity = stack.request("prod-api")
    wait_for("the drill", lambda: [j for j in agent(stack, "drill")["jobs"] if (j.get("progress") or {}).get("phase") == "asserting"])
    stack.kill("coordinator")
    config = json.loads((stack.dir / "coordinator.yaml").read_text())
    config["bus"] = f"tls+tcp://127.0.0.1:{other}"
    run([BIN / "pgseal-coordinator", "certificate", "--config", stack.dir / "coordinator.yaml", "--name", "second.example.org"])
    (stack.dir / "coordinator.yaml").write_text(json.dumps(config))
    stack.start_coordinator()
    final = stack.wait_final(identity, timeout=90)
    assert final["state"] == "sealed" and [j["attempt"] for j in final["jobs"]] == [1, 1], final
    takes(server, "join_two", 0)
    assert stack.seal("prod-api", "by the second")["state"] == "sealed"
