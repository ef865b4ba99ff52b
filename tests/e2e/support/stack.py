"""A running pgseal, set up the way a user would: keys by `pgseal key`, two YAML files, the two daemons."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from .postgres import NATIVE, tools_dir
from .certificates import Certificates
from .shell import BIN, free_port, processes, run, wait_for


PATIENCE = 400  # seconds for an answer that waits for a drill: a machine may be busy with other things


def yaml(value):
    """JSON is YAML."""
    return json.dumps(value, indent=1) + "\n"


class Stack:
    """coordinator + agents under one directory. databases: name -> conninfo. Call start(), then checkpoint()."""

    def __init__(self, directory, databases, engine=None, images=None, agents=("dump+drill",), **options):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        self.databases = databases
        self.engine = engine
        self.images = images or {}
        self.options = options
        self.agents = {}
        for spec in agents:
            capabilities = spec.split("+")
            self.agents["-".join(capabilities)] = capabilities
        self.http, self.bus = free_port(), free_port()
        self.tls = Certificates(self.dir / "tls") if options.get("tls") else None
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.http}"
        self.bucket = options.get("s3")  # a support.s3.Bucket; else a directory is the repository
        self.repository = self.dir / ("repository.yaml" if self.bucket else "repository")
        self.address = options.get("address", "127.0.0.1")  # of the bus
        self.running = {}
        self.join = options.get("join")  # agents join by invitation, over TLS; else coordinator.yaml lists them
        self._keys()
        self._configs()

    # ---- set-up ----------------------------------------------------------------------------------

    def _keys(self):
        keys = self.dir / "keys"
        keys.mkdir(mode=0o700)
        for name in ("drill", "escrow", "foreign"):
            self.cli("key", "generate", "--kind", "recipient", "--out", keys / name, "--name", name)
        if self.join:
            run([BIN / "pgseal-coordinator", "init", "--dir", self.dir / "deployment", "--name", self.address, "--name", "localhost"])
        for name in [] if self.join else self.agents:
            self.cli("key", "generate", "--kind", "signing", "--out", keys / f"agent-{name}")
        secret = keys / "rehearse.secret"
        secret.write_text(self.cli("rehearse", "--new-secret").stdout)
        secret.chmod(0o600)
        self.token = "pgseal_" + os.urandom(24).hex()
        token = self.dir / "token"
        token.write_text(self.token + "\n")
        token.chmod(0o600)

    def _of(self, database):
        """Options, with what `each={name: {...}}` says of that database."""
        return {**self.options, **self.options.get("each", {}).get(database, {})}

    def _database(self, name):
        o = self._of(name)
        return {"name": name, "environment": o.get("environment", "test"),
                "budgets": {"timeout_seconds": o.get("timeout_seconds", 900),
                            "lock_timeout_seconds": o.get("lock_timeout_seconds", 5), "connections": o.get("connections", 2)},
                **{k: o[k] for k in ("owner", "assertions", "lock", "restore_approval") if k in o}}

    def _configs(self):
        self.write_coordinator()
        conninfos = self.dir / "databases"
        conninfos.mkdir(exist_ok=True)
        for name, conninfo in self.databases.items():
            (conninfos / name).write_text(conninfo + "\n")
            (conninfos / name).chmod(0o600)
        if self.bucket:
            self.bucket.write_keys(self.dir / "keys/bucket")
            self.repository.write_text(yaml({"repository": {"s3": self.bucket.config("keys/bucket", **self.options.get("s3_options", {}))}}))
        for name in [] if self.join else self.agents:
            self.write_agent(name)

    def write_coordinator(self):
        o = self.options
        names = [n for n in self.databases if n not in o.get("undeclared", ())]  # those are for a fleet.yaml
        coordinator = {
            "http": f"127.0.0.1:{self.http}", "bus": f"{'tls+' if self.join else ''}tcp://{self.address}:{self.bus}",
            **({"bus_tls": self.bus_tls()} if self.join else {}),
            "ledger": o.get("ledger", "ledger.db"),
            **({"tls": {"certificate": str(self.tls.certificate), "key": str(self.tls.key)}} if self.tls else {}),
            "admin_token_file": "token",
            **{k: o[k] for k in ("fleet", "signing_key") if k in o},
            **({"http_limits": o["http_limits"]} if "http_limits" in o else {}),
            **{k: o[k] for k in ("alerts", "reports", "oidc", "traces") if k in o},
            "dispatch": {"lease_seconds": o.get("lease_seconds", 5), "poll_seconds": 2, "max_attempts": 3,
                         "agent_wait_seconds": o.get("agent_wait_seconds", 20)},
            "databases": [self._database(n) for n in names],
            "agents": [{"name": a, "public_key": f"keys/agent-{a}.pub", "capabilities": c, "databases": ["*"]}
                       for a, c in self.agents.items() if not self.join],
            "log": {"level": "debug", "format": "text"},
        }
        (self.dir / "coordinator.yaml").write_text(yaml(coordinator))

    def bus_tls(self):
        return {"ca": "deployment/ca.crt", "ca_key": "deployment/ca.key", "certificate": "deployment/coordinator.crt",
                "key": "deployment/coordinator.key",
                "agent_certificate_seconds": self.options.get("agent_certificate_seconds", 3600)}

    def invite(self, name, capabilities=("dump", "drill"), databases=("*",), expires="1h"):
        """A file with the invitation's token."""
        token = self.dir / f"{name}.invitation"
        token.unlink(missing_ok=True)
        self.cli("agent", "invite", name, *[w for c in capabilities for w in ("--capability", c)],
                 *[w for d in databases for w in ("--databases", d)], "--expires", expires, "--output", token)
        return token

    def enroll(self, name, token, check=True, place=None):
        return run([BIN / "pgseal-agent", "enroll", "--coordinator", self.url, "--token-file", token,
                    "--dir", self.dir / (place or f"joined-{name}"), *(["--http-ca", self.tls.ca] if self.tls else [])], check=check)

    def joins(self, name, place=None, **invitation):
        """Invited, enrolled, and its agent.yaml completed."""
        self.enroll(name, self.invite(name, self.agents[name], **invitation), place=place)
        self.write_agent(name, place=place)

    def write_agent(self, name, place=None, **changes):
        """Writes NAME.yaml; changes replace whole top-level sections."""
        o = self.options
        drill = {"engine": "docker" if self.engine else "local", "memory_mb": o.get("memory_mb", 2048), "jobs": o.get("jobs", 2),
                 **o.get("drill", {})}
        if self.engine:
            drill["socket"] = str(self.engine.socket)
            drill["images"] = [{"major": m, "image": i} for m, i in self.images.items()]
        majors = set(self.images) | {NATIVE}
        config = {
            "agent": {"name": name, "coordinators": [f"tcp://127.0.0.1:{p}" for p in o.get("buses", [o.get("bus", self.bus)])], "data": f"agent-{name}",
                      "signing_key": f"keys/agent-{name}.key", "capabilities": self.agents[name],
                      "slots": o.get("slots", {"dump": 2, "drill": 2, "restore": 2})},
            "repository": {"file" if self.bucket else "directory": str(self.repository)},
            "keys": {"recipients": ["keys/drill.crt", "keys/escrow.crt"],
                     **({"decryption_key": "keys/drill.key", "decryption_certificate": "keys/drill.crt"}
                        if {"drill", "restore", "rehearse"} & set(self.agents[name]) else {})},
            **({"rehearse": {"secret_file": "keys/rehearse.secret"}} if "rehearse" in self.agents[name] else {}),
            "postgres": {"bin_dirs": [{"major": m, "path": str(tools_dir(m))} for m in sorted(majors)]},
            "databases": [{"name": n, "conninfo_file": f"databases/{n}", "roles": self._of(n).get("roles", "all")}
                          for n in self.databases],
            "drill": drill,
            "segments": {"size_mb": o.get("segment_mb", 4), "zstd_level": o.get("zstd_level", 1), "workers": 2},
            "log": {"level": "debug", "format": "text"},
        }
        if self.join:
            place = place or f"joined-{name}"
            config["agent"] |= {"coordinators": [f"tls+tcp://{self.address}:{p}" for p in o.get("buses", [self.bus])],
                                "signing_key": f"{place}/keys/signing.key",
                                "tls": {"ca": f"{place}/keys/ca.crt", "identity": f"{place}/keys/tls.pem"}}
        config.update(changes)
        (self.dir / f"{name}.yaml").write_text(yaml(config))

    # ---- processes -------------------------------------------------------------------------------

    def _spawn(self, name, argv):
        log = open(self.dir / f"{name}.log", "ab")
        more = {} if name == "coordinator" else self.options.get("agent_environment", {})
        self.running[name] = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              env={**os.environ, "PGPASSWORD": "", "TZ": "Asia/Kathmandu", **more})
        log.close()

    def start_coordinator(self):
        self._spawn("coordinator", [*self.options.get("wrap_coordinator", []),
                                    BIN / "pgseal-coordinator", "--config", self.dir / "coordinator.yaml"])
        wait_for("the coordinator", lambda: self._alive("coordinator") and self.ready())

    def start_agent(self, name):
        before = self.log(name).count("msg=started")
        self._spawn(name, [*self.options.get("wrap_agent", []), BIN / "pgseal-agent", "--config", self.dir / f"{name}.yaml"])
        wait_for(name, lambda: self._alive(name) and self.log(name).count("msg=started") > before, every=0.02)

    def start(self):
        self.start_coordinator()
        for name in self.agents:
            if self.join:
                self.joins(name)
            self.start_agent(name)
        return self

    def _alive(self, name):
        if self.running[name].poll() is not None:
            raise AssertionError(f"{name} ended {self.running[name].returncode}:\n{self.log(name)[-4000:]}")
        return True

    def ready(self):
        try:
            return urllib.request.urlopen(self.url + "/readyz", timeout=2, context=self.tls and self.tls.context()).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self, name, sig=signal.SIGKILL):
        self.running[name].send_signal(sig)
        self.running[name].send_signal(signal.SIGCONT)  # a test may have stopped it
        return self.running.pop(name).wait(40)

    def stop(self):
        """Clean stop of everything; returns exit codes by name."""
        codes = {}
        for name in [n for n in self.running if n != "coordinator"] + ["coordinator"]:
            if name in self.running:
                codes[name] = self.kill(name, signal.SIGTERM)
        return codes

    def remove(self):
        codes = self.stop()
        logs = {n: self.log(n) for n in codes}
        shutil.rmtree(self.dir, ignore_errors=True)
        for name, code in codes.items():
            assert code == 0, f"{name} ended {code}:\n{logs[name][-6000:]}"
            assert "AddressSanitizer" not in logs[name] and "runtime error:" not in logs[name], logs[name][-6000:]

    def log(self, name):
        path = self.dir / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # ---- what a user does ------------------------------------------------------------------------

    def cli(self, *argv, check=True, env=None, **kw):
        env = {**os.environ, **(env or {}), "PGSEAL_URL": getattr(self, "url", ""), "PGSEAL_TOKEN": getattr(self, "token", ""), "NO_COLOR": "1",
               **({"PGSEAL_CA_FILE": str(self.tls.ca)} if getattr(self, "tls", None) else {})}
        return run([BIN / "pgseal", *argv], check=check, env=env, **kw)

    def api(self, method, path, json_body=None, token=None, headers=None, timeout=PATIENCE, raw=None):
        data = raw if raw is not None else (json.dumps(json_body).encode() if json_body is not None else None)
        request = urllib.request.Request(self.url + path, data=data, method=method)
        token = self.token if token is None else token
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for key, value in (headers or {}).items():
            request.add_header(key, value)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.tls and self.tls.context()) as answer:
                status, body, got = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as e:
            status, body, got = e.code, e.read(), e.headers
        try:
            return status, json.loads(body or b"null"), got
        except ValueError:
            return status, body.decode(errors="replace"), got

    def connect(self, timeout=60, source=None):
        """A socket to the HTTP API, for what no client library would do."""
        s = socket.create_connection(("127.0.0.1", self.http), timeout=timeout, source_address=source and (source, 0))
        return self.tls.context().wrap_socket(s, server_hostname="127.0.0.1") if self.tls else s

    def checkpoint(self, database, tag="test", timeout=PATIENCE):
        """The one blocking request. (status, body)."""
        status, body, _ = self.api("POST", "/api/checkpoint", {"database": database, "tag": tag}, timeout=timeout)
        return status, body

    def request(self, database, tag="test"):
        """Asks without waiting; returns the id."""
        status, body, _ = self.api("POST", "/api/v1/checkpoints", {"database": database, "tag": tag, "wait": False})
        assert status == 202, (status, body)
        return body["id"]

    def show(self, checkpoint):
        status, body, _ = self.api("GET", f"/api/v1/checkpoints/{checkpoint}")
        assert status == 200, (status, body)
        return body

    FINAL = ("sealed", "failed", "errored", "canceled")

    def wait_final(self, checkpoint, timeout=300):
        return wait_for(f"{checkpoint} to end", lambda: (lambda c: c if c["state"] in self.FINAL else None)(self.show(checkpoint)),
                        timeout=timeout, every=0.3)

    def seal(self, database, tag="test", timeout=PATIENCE):
        """A checkpoint that must seal; returns what GET says of it."""
        status, body = self.checkpoint(database, tag, timeout)
        if status != 200:
            detail = self.show(body["id"])["detail"] if isinstance(body, dict) and body.get("id") else None
            raise AssertionError(f"not sealed: {status} {json.dumps(body, indent=1)}\n{json.dumps(detail, indent=1)[:6000]}")
        assert body["ok"] is True and body["restore_drill"] == "proven", body
        shown = self.show(body["id"])
        assert shown["state"] == "sealed"
        return shown

    def refuse(self, database, state, code, tag="test", timeout=PATIENCE):
        """A checkpoint that must not seal: ends in `state` with error `code`, a message and a remedy."""
        status, body = self.checkpoint(database, tag, timeout)
        assert status >= 400 and body["ok"] is False, (status, body)
        assert body["error"]["code"] == code, body
        assert body["error"]["message"] and body["error"]["remedy"], body
        shown = self.show(body["id"])
        assert shown["state"] == state, shown
        return shown

    def _key(self, key):
        prefix = self.options.get("s3_options", {}).get("prefix")
        return f"{prefix}/{key}" if prefix else key

    def objects(self, checkpoint):
        """Its repository files (of a bucket: copies of them), by name relative to the attempt."""
        if self.bucket:
            return self.bucket.mirror(self._key(checkpoint["prefix"]), self.dir / "mirror" / checkpoint["id"])
        prefix = self.repository / checkpoint["prefix"]
        return {str(p.relative_to(prefix)): p for p in sorted(prefix.rglob("*")) if p.is_file()}

    # ---- what is left ----------------------------------------------------------------------------

    def leftovers(self):
        """Scratch, job processes, containers and clusters that outlived their jobs: must be empty."""
        left = []
        for name in self.agents:
            scratch = self.dir / f"agent-{name}" / "scratch"
            if scratch.exists():
                left += [str(p) for p in scratch.iterdir()]
        # The local engine's clusters are beside scratch where the servers' user cannot pass through it.
        jobs = {job for name in self.agents for job in re.findall(r"\bjob=([0-9a-z]{26})\b", self.log(name))}
        places = [pathlib.Path("/var/tmp"), pathlib.Path(f"/tmp/pgseal-{os.getuid()}")]
        left += [str(p) for place in places if place.exists() for p in place.iterdir() if any(j in p.name for j in jobs)]
        mine = str(self.dir)
        for pid, argv in processes():
            line = " ".join(argv)
            if mine in line and ("scratch" in line or " job " in line + " ") or any(j in line for j in jobs):
                left.append(f"process {pid}: {line}")
        if self.engine:
            left += [f"container {c}" for c in self.engine.containers()]
        return left

    def assert_clean(self, timeout=30):
        end = time.monotonic() + timeout
        while (left := self.leftovers()) and time.monotonic() < end:
            time.sleep(0.3)
        assert not left, left
