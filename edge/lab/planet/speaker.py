"""The BGP speaker of a place: a BIRD that runs there."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.errors import UnavailableError
from core.service import interrupt
from edge.lab.bird.control import BirdControl, command
from edge.lab.planet import programs, routing
from edge.lab.planet.layout import Layout
from edge.lab.planet.place import Place

TIMEOUT_S = 30.0
POLL_S = 0.05


class Speaker:
    """A BIRD of a router or a PoP host. Methods raise UnavailableError."""

    def __init__(self, layout: Layout, place: Place) -> None:
        self._layout = layout
        self._place = place
        self._config = place.directory / routing.CONFIG
        self.control = BirdControl(place.directory / routing.SOCKET)
        """What it says of protocols, BFD sessions and routes."""

    def start(self) -> None:
        """Start it and do not wait for neighbours."""
        self._write(())
        program = programs.find("bird")
        words = command(self._config, self._place.directory / routing.SOCKET)
        self._place.start_program([program, *words[1:]], self._place.directory / routing.LOG)

    def withhold(self, prefixes: tuple[str, ...]) -> None:
        """Announce these to no other router from now on, and all others."""
        self._write(prefixes)
        self.control.configure()

    def _write(self, withheld: tuple[str, ...]) -> None:
        text = routing.configuration(self._layout, self._place.site, withheld)
        assert text is not None
        self._config.write_text(text)


def until(holds: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait for what no event tells of: the state of other processes. Raises UnavailableError."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise UnavailableError(f"not within {timeout_s:g} s: {what}")
        interrupt.wait((), POLL_S)
