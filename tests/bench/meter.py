"""Wall time, CPU seconds and peak memory of what runs in a `with` block."""
import os
import pathlib
import threading
import time

from support.shell import processes

TICK = os.sysconf("SC_CLK_TCK")


def cpu_times():
    """(busy, idle) CPU seconds of the whole machine: the same yardstick for every contestant, servers included."""
    with open("/proc/stat") as f:
        fields = [int(x) for x in f.readline().split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:7])) / TICK, (fields[3] + fields[4]) / TICK


def idle_share(seconds):
    busy, idle = cpu_times()
    time.sleep(seconds)
    busy, idle = (b - a for a, b in zip((busy, idle), cpu_times()))
    return idle / max(busy + idle, 1e-9)


class Meter:
    """peak: highest resident set by program, of pgseal's own processes and of those that name `where` in their arguments."""

    def __init__(self, where):
        self.where, self.peak = where, {}
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._sample)

    def _sample(self):
        while not self.stopped.wait(0.25):
            for pid, argv in processes():
                if argv and (os.path.basename(argv[0]).startswith("pgseal") or any(self.where in a for a in argv)):
                    self._note(pid, argv)

    def _note(self, pid, argv):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        name = os.path.basename(argv[0].split(":")[0]) + (" job" if "job" in argv[1:2] else "")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak[name] = max(self.peak.get(name, 0), int(line.split()[1]) * 1024)

    def __enter__(self):
        self.before, _ = cpu_times()
        self.start = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.start
        self.cpu_seconds = cpu_times()[0] - self.before
        self.stopped.set()
        self.thread.join()
