"""A client whose network is taken away, and that gets another: interfaces of a namespace that come and go."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from core.addr import IpFamily
from ebpf.net.netns import Wiring
from edge.lab import lab
from edge.lab.lab import Running
from edge.lab.plan import LabPlan, Place

PATIENT = {"max_loop_lag_ms": 10_000}


class Roamer:
    """The client of a lab, in whose place networks come and go; each has other addresses."""

    def __init__(self, running: Running) -> None:
        self._plan = running.plan
        namespaces = running.plan.namespaces
        self._client, self._pop = namespaces[Place.CLIENT], namespaces[Place.POP]
        self._networks = 0
        self.url = running.plan.url
        self.namespace = self._client
        self._signaling = next(daemon.popen for daemon in running.daemons if daemon.name == "signaling")
        # The lab's own interface has the VIPs at its other end, so it stays, but nobody can use it.
        for words in (("link", "set", "eth0", "down"), ("addr", "flush", "dev", "eth0")):
            subprocess.run(["ip", "-n", str(self._client), *words], check=True)

    @property
    def host(self) -> str:
        """What the client has for an address, once it has one."""
        return f"10.66.{self._networks}.2"

    def begin(self) -> None:
        """In a network of its own, with nothing left of those before."""
        with Wiring(self._client) as client:
            for number in range(1, self._networks + 1):
                client.delete(f"wlan{number}")
        self.join()

    def leave(self) -> None:
        """The network is gone, with its interface and address, and nobody answers at signaling."""
        self._signaling.send_signal(signal.SIGSTOP)
        with Wiring(self._client) as client:
            client.delete(self._interface)

    def fade(self) -> None:
        """The network has no carrier any more: what is sent is lost without a word."""
        self._signaling.send_signal(signal.SIGSTOP)
        words = ("link", "set", self._interface, "down")
        subprocess.run(["ip", "-n", str(self._pop), *words], check=True)

    def join(self) -> None:
        """Another network, and the way to the VIPs is through it."""
        self._networks += 1
        router = f"10.66.{self._networks}.1"
        with Wiring(self._client) as client, Wiring(self._pop) as pop:
            client.veth(self._interface, self._interface, self._pop)
            for wiring, address in ((pop, router), (client, self.host)):
                wiring.address(self._interface, f"{address}/24")
                wiring.up(self._interface)
        words = ("route", "replace", "198.51.100.0/24", "via", router)
        subprocess.run(["ip", "-n", str(self._client), *words], check=True)
        self._signaling.send_signal(signal.SIGCONT)

    @property
    def _interface(self) -> str:
        return f"wlan{self._networks}"


@contextmanager
def roaming() -> Iterator[Roamer]:
    """A client, which has yet to begin, and everything that it can call. Takes root."""
    name = f"r{os.getpid()}"
    plan = LabPlan(name=name, families=(IpFamily.V4,), forwarder="userspace", transceiver=PATIENT)
    running = lab.up(plan, start=True, tell=lambda _: None)
    try:
        yield Roamer(running)
    finally:
        running.remove()
