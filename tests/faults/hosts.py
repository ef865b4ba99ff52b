"""Network namespaces as hosts: each with an address of its own on one bridge, and a cable that can be pulled."""
import os
import random
import subprocess

from support.shell import BIN, run, wait_for
from support.stack import Stack


class Network:
    """The test's own machine is 10.x.y.1, where the coordinator listens; hosts are 10.x.y.2 and so on."""

    def __init__(self):
        choice = random.SystemRandom()
        self.id = f"{choice.randrange(1 << 24):06x}"
        self.prefix = f"10.{choice.randrange(100, 250)}.{choice.randrange(1, 250)}"
        self.address, self.bridge, self.hosts = f"{self.prefix}.1", f"pgs{self.id}", []
        run(["ip", "link", "add", self.bridge, "type", "bridge"])
        run(["ip", "address", "add", f"{self.address}/24", "dev", self.bridge])
        run(["ip", "link", "set", self.bridge, "up"])

    def host(self):
        """A new one; its name, for the others."""
        number = len(self.hosts) + 2
        name, here = f"pgs{self.id}-{number}", f"p{self.id}{number}"
        self.hosts.append(name)
        run(["ip", "netns", "add", name])
        run(["ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name])
        run(["ip", "link", "set", here, "master", self.bridge, "up"])
        for argv in (["address", "add", f"{self.prefix}.{number}/24", "dev", "eth0"], ["link", "set", "lo", "up"], ["link", "set", "eth0", "up"]):
            run(["ip", "-n", name, *argv])
        return name

    def cut(self, host):
        """Nobody is told: what was sent is lost, connections stay as they were."""
        run(["ip", "link", "set", f"p{self.id}{self.hosts.index(host) + 2}", "nomaster"])

    def mend(self, host):
        run(["ip", "link", "set", f"p{self.id}{self.hosts.index(host) + 2}", "master", self.bridge])

    def remove(self):
        for name in self.hosts:
            run(["ip", "netns", "delete", name], check=False)
        run(["ip", "link", "delete", self.bridge], check=False)


class Spread(Stack):
    """Each agent on a host of its own; mutual TLS to the coordinator."""

    def __init__(self, directory, databases, network, **options):
        self.network, self.host_of = network, {}
        super().__init__(directory, databases, join=True, address=network.address, **options)

    def start_agent(self, name):
        host = self.host_of.setdefault(name, None) or self.network.host()
        self.host_of[name] = host
        before = self.log(name).count("joined the coordinator")
        self._spawn(name, ["ip", "netns", "exec", host, BIN / "pgseal-agent", "--config", self.dir / f"{name}.yaml"])
        wait_for(f"{name} to join", lambda: self._alive(name) and self.log(name).count("joined the coordinator") > before, every=0.1)

    def cut(self, name):
        self.network.cut(self.host_of[name])

    def mend(self, name):
        self.network.mend(self.host_of[name])
