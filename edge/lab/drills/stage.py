"""Where a drill plays: a lab or a planet of its own, and callers in it. All of it is gone in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from core.service import interrupt, process
from core.service.process import Child
from ebpf.net import netns
from edge.lab import lab
from edge.lab.drills.crowd import Crowd, log_of
from edge.lab.lab import Running
from edge.lab.plan import LabPlan, Place
from edge.lab.planet import lifecycle
from edge.lab.planet.planet import City, Planet

PATIENT = {"max_loop_lag_ms": 10_000}
"""Transceivers refuse calls while they are late. A machine that plays a whole planet is, and a drill is to
measure something else.
"""
SHORT_CALLS = 4
LONGEST_CALL_S = 600
"""Of `voxpop call`: callers stay until they are told to hang up."""


@dataclass(slots=True)
class Stage:
    """Of one drill."""

    name: str
    """Of its lab."""
    directory: Path
    """For what the callers tell."""
    is_short: bool = False
    """With few calls and short waits: shows that a drill works, and measures nothing."""
    tell: Callable[[str], None] = field(default=lambda _: None, repr=False)
    _crowds: int = 0

    def calls(self, usual: int) -> int:
        """How many there are to be."""
        return min(usual, SHORT_CALLS) if self.is_short else usual

    def pick(self, usual: float, short: float) -> float:
        """A time, or a number, of which a short drill takes less."""
        return short if self.is_short else usual

    def wait(self, seconds: float) -> None:
        """Let the calls go on. Raises KeyboardInterrupt when a postponed signal comes."""
        interrupt.wait((), seconds)

    @contextlib.contextmanager
    def lab(self, **changes: object) -> Iterator[Running]:
        """A lab with everything running; `changes` are those of its plan. Raises UnavailableError."""
        settings = {"name": self.name, "transceiver": PATIENT, "http_port": 0} | changes
        running = lab.up(LabPlan(**settings), start=True, tell=lambda _: None)  # type: ignore[arg-type]
        try:
            yield running
        finally:
            running.remove()

    def lab_callers(self, running: Running, calls: int, *options: str) -> AbstractContextManager[Crowd]:
        """A crowd at the client's place of a lab, that begins with the block."""
        inside = partial(netns.inside, running.plan.namespaces[Place.CLIENT])

        def spawn(command: Sequence[str], log: Path) -> Child:
            return process.spawn("callers", command, log, inside=inside, ends_with_us=True)

        return self.callers(spawn, running.plan.url, calls, *options)

    def planet(self, text: str) -> AbstractContextManager[Planet]:
        """A planet with everything running, from the text of its file. Raises UnavailableError."""
        return lifecycle.running(text, self.name)

    def city_callers(self, city: City, url: str, calls: int, *options: str) -> AbstractContextManager[Crowd]:
        """A crowd in a city of a planet, that begins with the block."""

        def spawn(command: Sequence[str], log: Path) -> Child:
            return Child("callers", city.popen(command, log), log)

        return self.callers(spawn, url, calls, *options)

    @contextlib.contextmanager
    def callers(
        self, spawn: Callable[[Sequence[str], Path], Child], url: str, calls: int, *options: str
    ) -> Iterator[Crowd]:
        """A crowd that begins with the block. `options` are those of `voxpop call`; without `--seconds` all
        stay until they are told to hang up.
        """
        self._crowds += 1
        log = log_of(self.directory, self._crowds)
        log.unlink(missing_ok=True)
        lasting = () if "--seconds" in options else ("--seconds", str(LONGEST_CALL_S))
        command = ["voxpop", "call", url, "--calls", str(calls), "--json", *lasting, *options]
        crowd = Crowd(spawn(command, log), calls)
        try:
            yield crowd
        finally:
            crowd.close()
