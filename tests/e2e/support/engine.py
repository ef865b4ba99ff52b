"""A container engine of the tests' own: podman's Docker API on a private socket, with images built from Debian."""
import json
import os
import pathlib
import shutil
import subprocess

from .postgres import CACHE, building
from .shell import PROJECT, run, wait_for


class Engine:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.socket = self.dir / "podman.sock"
        self.storage = CACHE / "containers"  # images are kept between runs; containers never
        self.process = None

    def _podman(self, *argv):
        return ["podman", "--runtime", shutil.which("runc") or "runc", "--root", str(self.storage),
                "--runroot", str(CACHE / "containers-run"), *argv]  # podman insists on the pair staying the same

    def start(self):
        self.log = open(self.dir / "podman.log", "ab")
        self.process = subprocess.Popen(self._podman("system", "service", "--time=0", f"unix://{self.socket}"),
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.dir)  # conmon leaves files where it is
        wait_for("the container engine", self.socket.exists)
        return self

    def image(self, major):
        """The drill image of a major version; built from Debian's packages when it is not there yet."""
        name = f"localhost/pgseal/postgres:{major}"
        with building(major):
            if run(self._podman("image", "exists", name), check=False).returncode != 0:
                env = dict(os.environ, PGSEAL_IMAGE_CACHE=str(CACHE), PGSEAL_PODMAN=" ".join(self._podman()))
                run([PROJECT / "deploy/images/build", str(major)], env=env, timeout=1200)
        return name

    def containers(self):
        """Ids of the containers, running or not, of agents that work beside this engine's directory: other runs share its
        storage."""
        out = run(self._podman("ps", "-a", "--filter", "label=pgseal.job", "--format", "json")).stdout
        return [c["Id"] for c in json.loads(out or "[]") if f"@{self.dir.parent}/" in c["Labels"].get("pgseal.agent", "")]

    def kill_container(self, container):
        run(self._podman("kill", "-s", "KILL", container))

    def stop(self):
        if self.process:
            for container in self.containers():
                run(self._podman("rm", "-f", container), check=False)
            self.process.terminate()
            self.process.wait(20)
            self.process = None
            self.log.close()
