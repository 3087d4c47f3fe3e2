"""A daemon of Voxpop in a place of a planet: started, told, asked, and ended in every way there is."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service import files, interrupt, process
from core.service.admin.client import AdminClient
from core.service.process import Child
from ebpf.net import netns
from edge.lab import processes
from edge.lab.plan import LOOPBACK
from edge.lab.planet import config
from edge.lab.planet.layout import Site
from edge.lab.planet.place import handles, until_ended
from edge.lab.status_pages import StatusPages

RELOAD_TIMEOUT_S = 10.0
POLL_S = 0.02
CONFIG = "voxpop.toml"


class Daemon:
    """`voxpop VERB`, with a configuration file of its own. Methods wait, and raise UnavailableError."""

    def __init__(self, verb: str, site: Site, status_port: int) -> None:
        self.name = verb
        self.config_path: Path = site.directory / CONFIG
        """Edit it, or call `configure`, then `reload`."""
        self.log_path: Path = site.directory / f"{verb}.log"
        self.status_at = Endpoint(LOOPBACK, status_port)
        """/metrics, /healthz and /readyz, in its namespace; outside on every other address of the place."""
        self._namespace = site.namespace
        self._admin = AdminClient(verb, site.directory / f"{verb}.sock")
        self._inside = partial(netns.inside, site.namespace)
        self._pages = StatusPages(f"{verb} in {site.namespace}", self.status_at, self._inside)
        self._child: Child | None = None

    # --- life -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Of the supervisor, whoever started it; None while none runs."""
        if self._child is not None and self._child.popen.poll() is None:
            return self._child.popen.pid
        words = f"voxpop {self.name} --config {self.config_path}"
        running = processes.running_in([self._namespace])[self._namespace]
        return next((each.pid for each in running if each.command.endswith(words)), None)

    def begin(self) -> None:
        """Start it and do not wait."""
        self.reap()
        words = ["voxpop", self.name, "--config", str(self.config_path)]
        self._child = process.spawn(self.name, words, self.log_path, inside=self._inside)

    def until_ready(self) -> None:
        """Wait until one that was begun is ready."""
        assert self._child is not None
        process.until_ready(self._child, self.status_at, self._inside)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.begin()
        self.until_ready()

    def stop(self) -> None:
        """SIGINT: it ends at once and says goodbye to nobody; waits until it is gone."""
        pid = self.pid
        self._end([] if pid is None else [pid], signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to all of its processes; waits until they are gone."""
        pid = self.pid
        self._end([] if pid is None else process.tree(pid), signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: a drain that ends with the daemon. Does not wait."""
        self._signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> None:
        """Until it has ended."""
        pid = self.pid
        with handles([] if pid is None else [pid]) as opened:
            until_ended(opened, timeout_s)
        self.reap()

    def _end(self, pids: Sequence[int], number: signal.Signals) -> None:
        with handles(pids) as opened:
            for handle in opened:
                _send(handle, number)
            until_ended(opened)
        self.reap()

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            raise UnavailableError(f"no {self.name} runs in {self._namespace}")
        with handles([pid]) as opened:
            for handle in opened:
                _send(handle, number)

    @property
    def children(self) -> list[Child]:
        """The one that we have started."""
        return [] if self._child is None else [self._child]

    def reap(self) -> None:
        """Take the status of one that we started and that has ended."""
        if self._child is not None and self._child.popen.poll() is not None:
            self._child = None

    # --- configuration --------------------------------------------------------------------------------

    def configure(self, **tables: Mapping[str, object]) -> None:
        """Change keys in its file: `configure(relay={"max_flows": 8192})`; None removes a key. They count
        after `reload`, or a restart. Raises ConfigError, and nothing has changed then.
        """
        document = config.changed(files.load_toml(self.config_path), tables)
        files.validate(self.config_path, document)
        self.config_path.write_text(config.render(document))

    def reload(self) -> None:
        """SIGHUP, and wait until it was adopted. Raises UnavailableError with the log where it is not."""
        before = len(self.log())
        self._signal(signal.SIGHUP)
        deadline = time.monotonic() + RELOAD_TIMEOUT_S
        while time.monotonic() < deadline:
            said = self.log()[before:]
            if "reloaded: " in said:
                return
            if "reload refused" in said:
                raise UnavailableError(f"{self.name} in {self._namespace} refuses:\n{said}")
            interrupt.wait((), POLL_S)
        raise UnavailableError(f"{self.name} in {self._namespace} was not reloaded in {RELOAD_TIMEOUT_S:g} s")

    def drain(self, for_s: float | None = None) -> dict[str, Any]:
        """`voxpop drain`: no new work until `undrain`; the drain's status."""
        return self._admin.drain(for_s)

    def undrain(self) -> dict[str, Any]:
        """Take a drain back."""
        return self._admin.undrain()

    def drain_status(self) -> dict[str, Any]:
        """`voxpop drain status`."""
        return self._admin.status()

    # --- what it says ---------------------------------------------------------------------------------

    def log(self) -> str:
        """All that it has written, and those before it in this place."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def is_ready(self) -> bool:
        """Whether /readyz says 200; not where nobody answers."""
        return self._pages.is_ready()

    def health(self) -> dict[str, Any]:
        """/healthz."""
        return self._pages.health()

    def metrics(self) -> dict[str, float]:
        """/metrics, by name and labels as Prometheus writes them: `voxpop_relay_flows{family="ipv4"}`."""
        return self._pages.metrics()


def _send(handle: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, number)
