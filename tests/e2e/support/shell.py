"""Running commands, finding ports, waiting."""
import contextlib
import os
import pathlib
import random
import resource
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


PORTS = 1000  # of each worker, from 10000 on: below those that the kernel gives to whoever asks for any
_ports = iter(())


def free_port():
    """One that nobody is given until it is used: not twice by this worker, not by another one, not by the kernel."""
    global _ports
    for _ in range(2 * PORTS):
        port = next(_ports, None)
        if port is None:
            worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
            first, begin = 10000 + PORTS * (worker % 10), random.SystemRandom().randrange(PORTS)  # beside other runs
            _ports = iter([first + (begin + i) % PORTS for i in range(PORTS)])
            continue
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@contextlib.contextmanager
def open_files(count):
    """This process may have so many files open in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), max(hard, count)))
    except (OSError, ValueError) as e:
        raise AssertionError(f"this test wants {count} open files, and this machine allows {hard}") from e
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, count)))


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
