"""Running commands, finding ports, waiting."""
import os
import pathlib
import socket
import subprocess
import time

PROJECT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("PGSEAL_BIN", PROJECT / "build" / "bin"))


def run(argv, check=True, timeout=600, **kw):
    """Runs argv; on failure raises with everything it printed, so that a test says why."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=kw.pop("text", True), timeout=timeout, **kw)
    if check and done.returncode != 0:
        raise AssertionError(f"{argv} ended {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, probe, timeout=60, every=0.1):
    """Calls probe() until it returns something true; returns that."""
    end = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting after {timeout} s: {what}")
        time.sleep(every)


def processes():
    """(pid, argv) of every process that can be read."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            yield int(entry.name), [a.decode(errors="replace") for a in argv if a]
