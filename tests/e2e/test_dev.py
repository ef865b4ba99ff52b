"""`pgseal dev`: everything on one machine, from two strings."""
import os
import pathlib
import signal
import subprocess
import urllib.request
import json

import pytest

from support.shell import BIN, free_port, run, wait_for


def mentions(path, text):
    try:
        return text.encode() in path.read_bytes()
    except OSError:  # it has ended
        return False


def test_dev_seals_stops_and_goes_on(base, server, tmp_path):
    server.create("devdb")
    server.sql("devdb", "CREATE TABLE t AS SELECT generate_series(1, 500) i")
    directory = tmp_path / "my dev"
    port = free_port()
    for round_ in (1, 2):
        out = open(tmp_path / "out", "w")
        dev = subprocess.Popen([BIN / "pgseal", "dev", "--database", f"prod-api={server.conninfo('devdb', password='s3cret pw')}",
                                "--dir", directory, "--http", f"127.0.0.1:{port}", "--engine", "local"], stdout=out, stderr=subprocess.STDOUT)
        try:
            def ready():
                assert dev.poll() is None, (tmp_path / "out").read_text()
                return "curl" in (tmp_path / "out").read_text()
            wait_for("pgseal dev", ready, timeout=40)
            printed = (tmp_path / "out").read_text()
            assert f"http://127.0.0.1:{port}" in printed and str(directory / "token") in printed and "s3cret" not in printed
            assert printed.count("others on this machine could read") == 1
            seen = [p.read_bytes() for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if mentions(p, str(directory))]
            assert len(seen) == 3 and not any(b"s3cret" in argv for argv in seen) and any(b"prod-api=****" in argv for argv in seen), seen
            token = (directory / "token").read_text().strip()
            assert (directory / "token").stat().st_mode & 0o777 == 0o600 and token not in printed
            answer = run(["curl", "-sS", "-X", "POST", f"http://127.0.0.1:{port}/api/checkpoint", "-H", f"Authorization: Bearer {token}",
                          "-d", json.dumps({"database": "prod-api", "tag": f"round-{round_}"})]).stdout
            assert json.loads(answer)["restore_drill"] == "proven", answer
        finally:
            dev.send_signal(signal.SIGINT)
            assert dev.wait(40) == 0
            out.close()
    for name in ("coordinator.yaml", "agent.yaml", "ledger.db", "repository", "keys"):
        assert (directory / name).exists()
    assert "s3cret" not in (directory / "agent.yaml").read_text()


def test_dev_says_what_is_wrong(tmp_path):
    bad = run([BIN / "pgseal", "dev", "--dir", tmp_path / "d"], check=False)
    assert bad.returncode == 2 and "--database" in bad.stderr
    bad = run([BIN / "pgseal", "dev", "--dir", tmp_path / "d", "--database", "x=nonsense =="], check=False)
    assert bad.returncode == 2 and bad.stderr
