"""How one session's audio comes and goes, for its backend: see `transceiver.turns.budget.Way`."""

from __future__ import annotations

from collections.abc import Callable

from transceiver.media.path import AudioPath


class SessionWay:
    """`path` is None before there are keys. `late_ns` says how far behind its deadline the tick is."""

    def __init__(self, late_ns: Callable[[], int]) -> None:
        self.path: AudioPath | None = None
        self._late_ns = late_ns

    @property
    def arrived_ns(self) -> int | None:
        """See Way."""
        return None if self.path is None else self.path.arrived_ns

    @property
    def packing_ns(self) -> int:
        """See Way."""
        return 0 if self.path is None else self.path.unplayed_ns

    @property
    def round_trip_ns(self) -> int | None:
        """See Way."""
        return None if self.path is None else self.path.least_round_trip_ns

    @property
    def leaving_ns(self) -> int:
        """See Way: lateness of the clock, what a longer packet still waits for, and Opus's look-ahead."""
        return self._late_ns() + (0 if self.path is None else self.path.leaving_ns)
