"""Checkpoints, good ones and failing ones, with every secret in use known; then all that was written, said or shown meanwhile is
searched for each of them."""
import base64
import hashlib
import hmac
import os
import pathlib
import re
import resource
import stat
import threading
import urllib.parse

import pytest

import judge
from support.issuer import Issuer
from support.mail import Mail
from support.shell import BIN, PROJECT, free_port, run, wait_for
from support.stack import yaml
from test_sign_in import Guest

ROWS = """CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 8) j) FROM generate_series(1, 20000) i"""


def forms(secret):
    """The ways in which it may be written down, as bytes."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), urllib.parse.quote_from_bytes(raw, safe="").encode()}
    for before in range(3):  # base64 of something that holds it, without the characters that its neighbours share
        whole = base64.b64encode(b"\0" * before + raw)
        found.add(whole[4 if before else 0:len(whole) // 4 * 4 - 4])
    return found


def private_keys(path):
    """What is secret of a PEM file: its lines, but for those with nothing but a part of the public key, and the number itself."""
    text = path.read_text()
    public = run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], text=False).stdout
    lines = [line for block in re.findall(r"BEGIN[A-Z ]* PRIVATE KEY-----\n(.*?)-----END", text, re.S) for line in block.split() if len(line) > 20]
    assert lines and base64.b64decode(lines[0]) not in public, path
    yield from (line for line in lines if base64.b64decode(line) not in public)
    shown = run(["openssl", "pkey", "-in", path, "-noout", "-text"]).stdout
    yield bytes.fromhex(re.sub(r"[\s:]", "", re.search(r"priv:\n((?:\s+[0-9a-f:]+\n)+)", shown).group(1)))


class Secrets:
    def __init__(self):
        self.forms, self.lock = {}, threading.Lock()  # form -> what it is; a new one each time: others look through it meanwhile

    def add(self, what, secret):
        assert len(secret) >= 16, what
        with self.lock:
            self.forms = {**self.forms, **{form: what for form in forms(secret)}}

    def make(self, what):
        """A new one, to be used as it is."""
        secret = "s" + os.urandom(16).hex()
        self.add(what, secret)
        return secret

    def within(self, data, but=()):
        """Which are in there."""
        data = data if isinstance(data, bytes) else data.encode(errors="surrogateescape")
        return {what for form, what in self.forms.items() if what not in but and form in data}


class Watch(threading.Thread):
    """Looks at the processes of a stack and at the files of its jobs, as often as is decent."""

    OWN = {"the session's secret", "the session's token", "PGPASSWORD of the agent"}  # an agent was given them in its environment

    def __init__(self, stack, secrets):
        super().__init__(daemon=True)
        self.stack, self.secrets, self.ended = stack, secrets, threading.Event()
        self.wrong, self.tools, self.own, self.passfiles = set(), set(), set(), 0

    def run(self):
        while not self.ended.wait(0.2):
            try:
                self.look()
                self.scratch()
            except Exception as e:  # to be told by the test, not by a thread
                self.wrong.add(f"{type(e).__name__}: {e}")

    def descendants(self):
        parents = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    pass
        found = {p.pid for p in self.stack.running.values()}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def look(self):
        for pid in self.descendants():
            proc = pathlib.Path(f"/proc/{pid}")
            try:  # in this order: what was a tool already has the environment of one
                argv, environ, limits = (proc / "cmdline").read_bytes(), (proc / "environ").read_bytes(), (proc / "limits").read_text()
            except OSError:
                continue
            program = pathlib.Path(argv.split(b"\0")[0].decode(errors="replace").split(" ")[0].rstrip(":")).name
            ours = argv.split(b"\0")[0] == b"/proc/self/exe" or program.startswith("pgseal")
            (self.own if ours else self.tools).add(program)
            self.wrong |= {f"{what} in the arguments of {program}" for what in self.secrets.within(argv)}
            agent = ours and pid != self.stack.running["coordinator"].pid
            self.wrong |= {f"{what} in the environment of {program}" for what in self.secrets.within(environ, self.OWN if agent else ())}
            if not ours:
                names = {pair.split(b"=")[0].decode(errors="replace") for pair in environ.split(b"\0")}
                self.wrong |= {f"{n} in the environment of {program}" for n in names if n.startswith("AWS_") or n == "PGPASSWORD"}
            if ours and not re.search(r"^Max core file size\s+0\s+0\s", limits, re.M):
                self.wrong.add(f"{program} may dump core")

    def scratch(self):
        for top, directories, names in (t for name in self.stack.agents for t in os.walk(self.stack.dir / f"agent-{name}" / "scratch")):
            directories[:] = [d for d in directories if d != "data"]  # the drill's server's
            for name in names:
                path = pathlib.Path(top, name)
                try:
                    mode, data = stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b""
                except OSError:
                    continue
                if name.startswith("pgpass-"):  # what it is for; gone with its job
                    self.passfiles += 1
                    self.wrong |= {f"mode {mode:o} of {path}"} - {f"mode 600 of {path}"}
                else:
                    self.wrong |= {f"{what} in {path}" for what in self.secrets.within(data)}

    def stop(self):
        self.ended.set()
        self.join()


def stream(stack, path):
    """A stream of events from its beginning, up to the one that says it is sealed."""
    with stack.connect(timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.token}\r\nLast-Event-ID: 0\r\n\r\n".encode())
        data = b""
        while b"checkpoint.sealed" not in data:
            more = connection.recv(65536)
            assert more, data
            data += more
        return data


def answers(stack, identity):
    """(path, answer) of everything that can be got from the API."""
    routes = re.findall(r'\{"GET", "([^"]+)"', (PROJECT / "coordinator/api/router.c").read_text())
    assert len(routes) > 12, routes
    status, plan, _ = stack.api("POST", "/api/v1/plans", {"database": "shop"})
    assert status == 202, (status, plan)
    status, sent, _ = stack.api("POST", "/api/v1/alerts/test", {"route": "chat"})
    assert status == 202, (status, sent)
    wait_for("the test of a route to be tried", lambda: stack.api("GET", f"/api/v1/notifications/{sent['id']}")[1]["error"], every=0.2)
    names = {"/jobs/": plan["id"], "/databases/": "shop", "/notifications/": sent["id"], "/ui/": "app.js"}
    for route in routes:
        path = route.replace("{}", next((name for part, name in names.items() if part in route), identity))
        if path.endswith("/events"):
            yield path, stream(stack, path)
            continue
        if path.endswith("/reports"):
            path += "?from=2026-01-01&to=2027-01-01"
        status, body, headers = stack.api("GET", path)
        assert status == (401 if path.endswith("/callback") else 200), (path, status, body)  # of no sign-in
        yield path, f"{headers}{body}"


class Telling(Issuer):
    """An issuer whose secrets are known: codes, tokens, and what comes with their exchange. With talks it refuses that, and says
    back all that it was told."""

    def __init__(self, secrets):
        self.secrets, self.talks, self.exchanges = secrets, False, 0
        super().__init__(client=("pgseal", secrets.make("the client's secret at the issuer")))

    def authorize(self, location):
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)
        self.secrets.add("a sign-in's state", asked["state"][0])
        self.secrets.add("a sign-in's nonce", asked["nonce"][0])
        target = super().authorize(location)
        code = self.secrets.make("a code of the issuer's")
        old, = urllib.parse.parse_qs(urllib.parse.urlsplit(target).query)["code"]
        self.codes[code] = self.codes.pop(old)
        return target.replace(f"code={old}", f"code={code}")

    def _exchange(self, handler):
        read = handler.rfile.read

        def remember(size):
            form = read(size)
            self.secrets.add("the proof key of a code", urllib.parse.parse_qs(form.decode())["code_verifier"][0])
            self.told = f"{handler.headers['Authorization']} {form.decode()}"
            return form
        handler.rfile.read = remember
        status, answer = super()._exchange(handler)
        self.exchanges += 1
        if self.talks:
            return 400, {"error": "invalid_grant", "error_description": self.told, "error_uri": f"http://127.0.0.1/?{self.told}"}
        assert status == 200, answer
        self.secrets.add("an access token", answer["access_token"])
        self.secrets.add("an ID token", answer["id_token"])
        self.secrets.add("an ID token's signature", answer["id_token"].split(".")[2])
        return status, answer


def sign_in(stack, issuer, secrets):
    """Somebody comes in by the issuer and goes out again, and somebody whom it refuses. What was said of it."""
    ann, said = Guest(stack), {}
    status, said["the page"], session = ann.come_back(issuer.authorize(ann.begin()))
    assert status == 200 and session, said
    secrets.add("a sign-in's cookie", ann.pending.split("=", 1)[1])
    secrets.add("a session's cookie", ann.cookie.split("=", 1)[1])
    secrets.add("a session's token against forgery", ann.who()["csrf"])
    status, body, _ = ann.ask("DELETE", "/api/v1/session", X_Pgseal_CSRF=ann.who()["csrf"])
    assert status == 200, body
    said["signing out"] = body
    issuer.talks = True
    bob = Guest(stack)
    status, said["the page of a refusal"], session = bob.come_back(issuer.authorize(bob.begin()))
    assert status >= 400 and not session and issuer.exchanges == 2, said
    secrets.add("a refused sign-in's cookie", bob.pending.split("=", 1)[1])
    return said


def fleet(make_stack, server, s3, bucket, issuer, mail, secrets):
    """A stack that joined over TLS, whose agent has its bucket's session in the environment; and databases that fail."""
    access, secret, token = s3.session(f"role-{bucket.name}")
    secrets.add("the session's secret", secret)
    secrets.add("the session's token", token)
    password = secrets.make("the database's password")
    server.create("s3_secrets")
    server.sql("s3_secrets", ROWS)
    server.require_password("keeper", password)
    databases = {"shop": server.conninfo("s3_secrets", user="keeper", password=password),
                 "gated": server.conninfo("s3_secrets", user="keeper", password=secrets.make("a wrong password")),
                 "garbled": server.conninfo("s3_secrets", user="keeper") + f" password = {secrets.make('a password in a garbled string')} x y"}
    environment = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token,
                   "PGPASSWORD": secrets.make("PGPASSWORD of the agent")}
    stack = make_stack(databases, start=False, join=True, s3=bucket, agents=("dump+drill+rehearse",), agent_environment=environment, segment_mb=1,
                       signing_key="keys/report.key", reports=[{"name": "monthly", "to": "post"}],
                       alerts={"group_seconds": 0, "default": ["chat", "hook"], "routes": [{"name": "chat", "type": "slack", "url_file": "chat.url"},
                                                                                       {"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{free_port()}/", "key_file": "hook.key"},
                                                                                       {"name": "post", "type": "email", "url": f"smtp://127.0.0.1:{mail.port}", "unencrypted": True, "user": "pgseal",
                                                                                        "password_file": "post.password", "from": "pgseal@example.com", "to": ["audit@example.com"]}]})
    secrets.add("the admin's token", stack.token)
    (stack.dir / "chat.url").write_text(f"http://127.0.0.1:{free_port()}/{secrets.make('what stands for a password in the address of a chat')}\n")
    (stack.dir / "hook.key").write_text(secrets.make("the key of a webhook"))
    (stack.dir / "post.password").write_text(secrets.make("the password of the mail server"))
    run([BIN / "pgseal", "key", "generate", "--kind", "signing", "--out", stack.dir / "keys/report"])
    stack.options["oidc"] = issuer.config(stack.dir, stack.url)
    stack.write_coordinator()
    place = bucket.config("", acl="bucket-owner-full-control", bandwidth_mb=1)
    del place["credentials_file"]
    stack.repository.write_text(yaml({"repository": {"s3": place}}))
    return stack


def learn(stack, secrets):
    """What came to be while it started: keys and an invitation."""
    keys = [p for where in ("keys", "deployment", "joined-*/keys") for p in stack.dir.glob(f"{where}/*") if p.suffix in (".key", ".pem")]
    assert len(keys) >= 6, keys
    for path in keys:
        for secret in private_keys(path):
            secrets.add(f"the key {path.relative_to(stack.dir)}", secret)
    for path in stack.dir.glob("*.invitation"):
        secrets.add("an invitation", path.read_text().strip().split("_", 2)[2])
    shared = (stack.dir / "keys/rehearse.secret").read_text().strip()
    secrets.add("the rehearsals' secret", shared)
    secrets.add("the rehearsals' secret, as bytes", base64.b64decode(shared))
    return {*keys, stack.dir / "keys/rehearse.secret", stack.dir / "token", stack.dir / "deployment/token", stack.dir / "chat.url", stack.dir / "hook.key", stack.dir / "post.password", stack.dir / "oidc-secret", *stack.dir.glob("*.invitation"), *stack.dir.glob("databases/*"),
            stack.dir / "keys/bucket"}


def rehearse(stack, secrets):
    """A command through the tunnel: its password is made of the secret, and travels nowhere. What was said of it."""
    secret = stack.dir / "keys/rehearse.secret"
    done = stack.cli("rehearse", "shop", "--secret-file", secret, "--command", "/usr/lib/postgresql/15/bin/psql -Xqc 'CREATE TABLE made (v int)'", check=False)
    assert done.returncode == 0 and "made" not in done.stderr, done
    job, = stack.api("GET", "/api/v1/jobs?kind=rehearse")[1]["jobs"]
    password = hmac.new(base64.b64decode(secret.read_text()), b"pgseal rehearse password\0" + job["id"].encode() + b"\0", hashlib.sha256)
    secrets.add("a copy's password", password.hexdigest())
    return {"rehearse": done.stdout + done.stderr, "its job": str(stack.api("GET", f"/api/v1/jobs/{job['id']}")[1])}


@pytest.fixture
def core_dumps():
    """Whoever wants none has to say so."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def test_no_secret_gets_out(make_stack, server, s3, bucket, core_dumps):
    secrets = Secrets()
    issuer, mail = Telling(secrets), Mail(refuses=True)
    stack = fleet(make_stack, server, s3, bucket, issuer, mail, secrets)
    stack.start()
    homes = learn(stack, secrets)
    status, made, _ = stack.api("POST", "/api/v1/tokens", {"name": "pipeline", "role": "ci"})
    assert status == 201, made
    secrets.add("a CI token", made["token"])
    watch = Watch(stack, secrets)
    watch.start()
    try:
        asked = {name: stack.api("POST", "/api/v1/checkpoints", {"database": name, "tag": "t", "wait": False}, token=made["token"])[1]["id"]
                 for name in stack.databases}
        ended = {name: stack.wait_final(identity, timeout=150) for name, identity in asked.items()}
        more = rehearse(stack, secrets) | sign_in(stack, issuer, secrets)
        for words in (["report", "send", "monthly"], ["alert", "test", "post"]):
            done = stack.cli(*words, check=False)
            assert done.returncode == 4, done
            more[" ".join(words)] = done.stdout + done.stderr
    finally:
        watch.stop()
    assert ended["shop"]["state"] == "sealed", ended["shop"]
    judge.expect(stack, ended["gated"], "errored", "database_refused")
    judge.expect(stack, ended["garbled"], "errored", "invalid_argument")
    bucket.write_keys(stack.dir / "keys/wrong", (s3.owner[0], secrets.make("a wrong secret of the bucket")))
    stack.repository.write_text(yaml({"repository": {"s3": bucket.config("keys/wrong")}}))
    judge.expect(stack, judge.ask(stack), "errored", "repository_refused", s3.owner[0])
    homes.add(stack.dir / "keys/wrong")

    with stack.connect() as s:  # a client that goes away in the middle of what it says: of that, debug lines tell
        s.sendall(f"POST /api/checkpoint HTTP/1.1\r\nAuthorization: Bearer {stack.token}\r\nContent-Length: 99\r\n\r\n{{".encode())
    wait_for("a debug line", lambda: " debug " in stack.log("coordinator"))

    assert not watch.wrong, sorted(watch.wrong)
    assert {"pg_dump", "pg_restore", "postgres"} <= watch.tools and len(watch.own) >= 2, (watch.tools, watch.own)
    found = {}
    assert len(mail.refused) == 2 and secrets.within(mail.refused[0]) == {"the password of the mail server"}, mail.refused
    issuer.server.shutdown()
    said = dict(answers(stack, asked["shop"])) | more
    for words in (["status"], ["show", asked["gated"]], ["report", "list"], ["alert", "list"], ["token", "list"], ["ledger"], ["agents"], ["doctor", "--config", stack.dir / "dump-drill-rehearse.yaml"]):
        done = stack.cli(*words, check=False)
        said[" ".join(map(str, words))] = done.stdout + done.stderr
    said |= {p: p.read_bytes() for p in stack.dir.rglob("*") if p.is_file() and p not in homes}
    said |= {key: bucket.get(key) for key in bucket.list()}
    for where, what in said.items():
        if within := secrets.within(what) | secrets.within(str(where)):
            found[str(where)] = within
    assert not found, found
    written = {p.name for p in said if isinstance(p, pathlib.Path)}
    assert {"ledger.db", "ledger.db-wal", "coordinator.log", "dump-drill-rehearse.log"} <= written, written
    assert any("segment" in k or k.endswith(".zst.cms") for k in map(str, said)), "objects are among it"


def test_the_search_finds():
    """Each form, wherever in a text it is."""
    secrets = Secrets()
    secret = secrets.make("it")
    raw = secret.encode()
    for text in (raw, raw.hex().encode(), urllib.parse.quote(secret).encode(), *(base64.b64encode(b"user:"[:n] + raw + b"tail") for n in range(6))):
        assert secrets.within(b"before " + text + b" after") == {"it"}, text
    assert not secrets.within(b"before " + raw[:-1] + b" after")
