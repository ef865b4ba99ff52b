"""Where CPU time goes while something runs: perf, sampling all processors by the clock (no hardware counters needed)."""
import collections
import pathlib
import re
import signal
import subprocess
import tempfile

FREQUENCY = 199

# What a sample's program, and then its library or function, is about; the first that fits.
PROGRAMS = (
    (r"swapper", "idle"),
    (r"postgres|pg-", "postgres (source and copy)"),
    (r"pgseal-dump", "dump job"),
    (r"pgseal-drill", "drill job"),
    (r"pgseal", "coordinator and agent"),
    (r"pg_dump", "pg_dump"),
    (r"pg_restore", "pg_restore"),
    (r"podman|conmon|runc|netavark", "container engine"),
)
PARTS = (
    (r"zstd", "compression"),
    (r"libcrypto|EVP_|OPENSSL", "SHA-256 and AES-GCM (libcrypto)"),
    (r"\[k|kernel", "kernel"),
)


class Profile:
    """In a `with` block: records. Afterwards `print_report()`."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="pgsb-perf.")
        self.data = pathlib.Path(self.dir.name) / "perf.data"

    def __enter__(self):
        self.recorder = subprocess.Popen(["perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", str(FREQUENCY), "-o", self.data],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        self.recorder.send_signal(signal.SIGINT)
        complaint = self.recorder.communicate()[1].decode(errors="replace")
        if not self.data.exists() or self.data.stat().st_size == 0:
            raise SystemExit(f"perf recorded nothing: {complaint.strip()}\nIt needs root, or kernel.perf_event_paranoid at -1.")

    def samples(self):
        """(program, library, function, seconds)."""
        out = subprocess.run(["perf", "report", "-i", self.data, "--stdio", "--sort", "comm,dso,symbol", "-n", "-t", "\t", "--no-children"],
                             check=True, capture_output=True, text=True).stdout
        for line in out.splitlines():
            fields = [f.strip() for f in line.split("\t")]
            if len(fields) >= 5 and fields[0].endswith("%"):
                yield fields[2], fields[3], fields[4], int(fields[1]) / FREQUENCY

    def print_report(self, top=40):
        samples = list(self.samples())
        total = sum(s for *_, s in samples)
        programs, parts, functions = collections.Counter(), collections.Counter(), collections.Counter()
        for program, library, function, seconds in samples:
            name = first(PROGRAMS, program) or "other"
            programs[name] += seconds
            if name.endswith(" job"):
                parts[name, first(PARTS, f"{library} {function}") or "pgseal's own code and libc"] += seconds
            if name != "idle":
                functions[program, function] += seconds
        print(f"\nCPU seconds by program, of {total:.1f}:")
        for name, seconds in programs.most_common():
            print(f"  {seconds:6.1f}  {100 * seconds / total:4.1f} %  {name}")
        print("\nIn pgseal's jobs:")
        for (name, part), seconds in sorted(parts.items(), key=lambda item: (item[0][0], -item[1])):
            print(f"  {seconds:6.1f}  {name}: {part}")
        print("\nFunctions:")
        for (program, function), seconds in functions.most_common(top):
            print(f"  {seconds:6.1f}  {program:16} {function}")


def first(table, text):
    return next((name for pattern, name in table if re.search(pattern, text, re.IGNORECASE)), None)
