"""A machine of the reader's own, in which the pages' commands run to the letter: hosts, ports and paths are those that the
pages name. A network of its own (loopback only: 8420 is free, whatever runs beside), /etc and /run of its own, a home to
work in. Not a container: the programs and PostgreSQL's tools are this machine's."""
import fcntl
import os
import pathlib
import pty
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import termios
import threading

from support.postgres import tools_dir
from support.shell import BIN, run, wait_for

HERE = pathlib.Path(__file__).parent
HOSTS = ("db1", "pgseal.example.org", "pgseal.example.com", "example.com", "events.pagerduty.com")
SETUP = """
set -e
ip link set lo up
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
echo "127.0.0.1 localhost $2" >/etc/hosts
rm -rf /etc/pgseal
mount -t tmpfs -o mode=755 pgseal-tests /run
echo ready
exec sleep infinity
"""
# A command that fails is noted, and ends the block unless a comment on the page says so; comments of it are `ends`.
BLOCK = """
exec 9>>"$1"; shift
[ ! -e {state} ] || . {state}
page_failed() {{
  printf '%s\t%s\n' "$1" "${{2//$'\n'/ }}" >&9
  case "$1 $2" in {expected}) ;; *) exit "$1" ;; esac
}} 2>/dev/null
trap 'page_failed "$?" "$BASH_COMMAND"' ERR
set -o pipefail -o allexport
{text}
{{ declare -px; declare -f; printf 'cd %q\\n' "$PWD"; }} | grep -v '^declare -[a-z]* BASH\\|^declare -[a-z]*r' >{state}
"""


class Done:
    def __init__(self, status, out, err, failures):
        self.status, self.out, self.err, self.failures = status, out, err, failures


class Terminal:
    """The controlling terminal of a block, where somebody types: once it asks."""

    def __init__(self, answer):
        self.answer, self.here, self.there = answer, -1, -1

    def __enter__(self):
        if self.answer is not None:
            self.here, self.there = pty.openpty()
            threading.Thread(target=self._type, daemon=True).start()
        return self

    def _type(self):
        try:
            os.read(self.here, 4096)
            os.write(self.here, f"{self.answer}\n".encode())
            while os.read(self.here, 4096):
                pass
        except OSError:
            pass  # its end

    def control(self):
        if self.there >= 0:
            fcntl.ioctl(self.there, termios.TIOCSCTTY, 0)

    def __exit__(self, *_):
        for end in (self.here, self.there):
            if end >= 0:
                os.close(end)


class Machine:
    running = []  # of this process: also of scenarios that did not come to be

    def __init__(self, base):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="m.", dir=base))
        self.dir.chmod(0o755)
        self.home, self.bin = self.dir / "home", self.dir / "bin"
        self.home.mkdir()
        self.bin.mkdir()
        self.services, self.state, self.variables = [], self.dir / "state", {}
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "bash", "-c", SETUP, "machine", str(self.dir), " ".join(HOSTS)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        Machine.running.append(self)
        if self.holder.stdout.readline() != "ready\n":
            raise AssertionError(f"no machine could be made: {self.holder.stderr.read()}")
        self.program("sudo", 'exec "$@"')  # the tests are root already

    def program(self, name, text):
        """A program of the reader's."""
        path = (self.home / name) if "/" in name else self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def write(self, name, text, mode=0o600):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def inside(self, *argv):
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", "--wdns=" + str(self.home), *map(str, argv)]

    def environment(self):
        kept = {k: v for k, v in os.environ.items() if k in ("LANG", "TZ", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS")}
        return {**kept, "PATH": f"{self.bin}:{self.dir}/installed/usr/local/bin:{BIN}:{tools_dir(15)}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(self.home),
                "NO_COLOR": "1", "no_proxy": "*", "PWD": str(self.home), **self.variables}

    def _script(self, text, ends):
        expected = " | ".join(f"{status}\\ {shlex.quote(command)}*" for command, status in ends) or "'-'"
        return BLOCK.format(expected=expected, state=self.state, text=text.rstrip("\n"))

    def bash(self, text, args=(), ends=(), types=None, timeout=300):
        """Runs a block: `ends` are (beginning of a command, its status) of those that may fail; `types` is what the reader
        answers, at a terminal, when asked."""
        failed = self.dir / "failed"
        failed.write_text("")
        argv = self.inside("bash", "-c", self._script(text, ends), "page", failed, *args)
        with Terminal(types) as terminal:
            done = subprocess.run(argv, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                                  start_new_session=True, preexec_fn=terminal.control)
        failures = [tuple(line.split("\t", 1)) for line in failed.read_text().splitlines()]
        return Done(done.returncode, done.stdout, done.stderr, [(c, int(s)) for s, c in failures])

    def run(self, text, **kw):
        """A step of a scenario's own: it has to work."""
        done = self.bash(text, **kw)
        if done.status:
            raise AssertionError(f"{text}\nended {done.status}\n{done.out}{done.err}")
        return done.out

    def stays(self, text, until, timeout=60):
        """Runs on, to the machine's end; waits until it has said `until`."""
        out = self.dir / f"service-{len(self.services)}"
        with out.open("wb") as log:
            process = subprocess.Popen(self.inside("bash", "-c", self._script(text, ()), "page", self.dir / "failed"), env=self.environment(),
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.services.append(process)

        def said():
            printed = out.read_text(errors="replace")
            if until in printed:
                return printed
            if process.poll() is not None:
                raise AssertionError(f"it ended {process.returncode} and never said '{until}':\n{text}\n{printed}")
            return None
        return wait_for(f"'{until}' from: {text}", said, timeout=timeout)

    def forward(self, here, there):
        """Of the machine's loopback to a socket, so that a server outside is reached."""
        process = subprocess.Popen(self.inside(sys.executable, HERE / "forward.py", here, there), stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "listening\n"
        self.services.append(process)

    def processes(self):
        """Whatever runs in it."""
        mine = os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.holder.pid:
                try:
                    if os.stat(entry / "ns/net").st_ino == mine:
                        yield int(entry.name)
                except OSError:
                    continue

    def remove(self):
        """As Ctrl-C would, then what is left."""
        Machine.running.remove(self)
        for process in reversed(self.services):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT) if os.getpgid(process.pid) == process.pid else process.terminate()
        for process in self.services:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        for pid in list(self.processes()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.holder.kill()
        self.holder.wait()
        run(["rm", "-rf", "--one-file-system", self.dir])


def shape(text):
    """A pattern of what looks like it: numbers, sizes, times, ids and digests may be others, `...` is anything, and as many
    blanks as there are."""
    out, i = "", 0
    rules = ((r"\.\.\.", r".*"), (r"\b[0-9a-hjkmnp-tv-z]{26}\b", r"[0-9a-hjkmnp-tv-z]{26}"), (r"\b[0-9a-f]{12,}\b", r"[0-9a-f]+"),
             (r"\d[\d,.:]*(?: ?[kMGT]?i?B\b)?", r"[\d,.:]+(?: ?[kMGT]?i?B)?"), (r" +", r" +"))
    while i < len(text):
        for pattern, made in rules:
            found = re.compile(pattern).match(text, i)
            if found:
                out, i = out + made, found.end()
                break
        else:
            out, i = out + re.escape(text[i]), i + 1
    return out


def difference(expected, got):
    """None, or which line is not as the page shows it. A line of `...` is any number of lines."""
    lines = [line.rstrip() for line in expected.strip("\n").split("\n")]
    pattern = "".join(r"(?:[^\n]*\n)*?" if line.strip() == "..." else shape(line) + r"[ ]*\n" for line in lines)
    if re.fullmatch(pattern, got.strip("\n") + "\n"):
        return None
    for n in range(len(lines), 0, -1):
        part = "".join(r"(?:[^\n]*\n)*?" if line.strip() == "..." else shape(line) + r"[ ]*\n" for line in lines[:n])
        if re.match(part, got.strip("\n") + "\n"):
            return f"it printed something else where the page has: {lines[n] if n < len(lines) else '(its end)'}"
    return f"it printed something else where the page has: {lines[0]}"


def like(expected, got, where="the answer"):
    """None, or what of a JSON value is not as shown: members that are not there, or of another kind; texts may be others if they
    look like ids, times or have `...`."""
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return f"{where} is no object: {got!r}"
        for name, value in expected.items():
            if name not in got:
                return f"{where} has no '{name}': it has {', '.join(sorted(got))}"
            problem = like(value, got[name], f"{where}.{name}")
            if problem:
                return problem
        return None
    if isinstance(expected, list):
        if not isinstance(got, list) or (expected and not got):
            return f"{where} is no such list: {got!r}"
        return next((p for p in (like(expected[min(i, len(expected) - 1)], g, f"{where}[{i}]") for i, g in enumerate(got)) if p), None) if expected else None
    if isinstance(expected, str) and isinstance(got, str):
        if "..." in expected:
            return None
        return None if re.fullmatch(shape(expected), got, re.S) else f"{where} is '{got}', not like '{expected}'"
    if isinstance(expected, bool) or expected is None or isinstance(got, bool):
        return None if expected is got else f"{where} is {got!r}, not {expected!r}"
    return None if isinstance(got, (int, float)) and isinstance(expected, (int, float)) else f"{where} is {got!r}, not like {expected!r}"
