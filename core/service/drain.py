"""One drain of a daemon: which of its workers still carry something, and until when they may."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple


class Load(NamedTuple):
    """What a daemon carries."""

    left: int
    """Calls or flows."""
    oldest_ns: int | None = None
    """When the oldest of them began, monotonic; None without any."""
    is_dated: bool = False
    """Whether that is known. Of flows it is not: one is as young as its client's latest address."""


@dataclass(slots=True)
class Drain:
    """From the word that begins it to the word that takes it back, or the end of the daemon. Times are
    monotonic.
    """

    number: int
    """Counted from 1. Workers repeat it, so that what they say of an earlier one is not taken for this."""
    workers: int
    began_ns: int
    until_ns: int
    """When what is left is ended."""
    is_last: bool = False
    """Whether the daemon ends with it."""
    is_expelling: bool = False
    """Whether its time was over before the last call was."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with every change."""
    _empty: set[int] = field(default_factory=set)

    @property
    def is_done(self) -> bool:
        """Whether every worker has said that nothing is left."""
        return len(self._empty) == self.workers

    def hear(self, worker: int, number: object) -> None:
        """A worker says that nothing is left, in the drain with that number."""
        if number == self.number:
            self._empty.add(worker)
            self.changed.set()

    def forget(self, worker: int) -> None:
        """What a worker said: another takes its place."""
        self._empty.discard(worker)

    def prolong(self, until_ns: int) -> None:
        """Give it another end, sooner or later."""
        self.until_ns = until_ns
        self.changed.set()

    def rest_s(self, now_ns: int) -> float:
        """Seconds until what is left is ended, negative afterwards."""
        return (self.until_ns - now_ns) / 1e9

    def summary(self, load: Load, now_ns: int) -> dict[str, object]:
        """For people and scripts. Durations in seconds."""
        return {
            "left": load.left,
            **(self._age(load, now_ns) if load.is_dated else {}),
            "since_s": round((now_ns - self.began_ns) / 1e9, 1),
            "remaining_s": round(max(self.rest_s(now_ns), 0.0), 1),
            "is_done": self.is_done,
            "is_last": self.is_last,
        }

    @staticmethod
    def _age(load: Load, now_ns: int) -> dict[str, object]:
        oldest_ns = load.oldest_ns
        return {"oldest_s": None if oldest_ns is None else round((now_ns - oldest_ns) / 1e9, 1)}
