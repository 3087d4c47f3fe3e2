"""One direction of a link: packets and the time go in, and come out later, or not at all.

    offer ──▶ cut? ──▶ lost? ──▶ full? ──▶ under way, until it is due ──▶ take_due

Every packet that was offered is under way, came out, or is counted once for why it never will. What is lost
is decided as a packet comes, by random numbers of its own: a seed fixes which of them are lost, whatever
the delay, the jitter and the time are.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from random import Random

MAX_DELAY_MS = 60_000.0
MAX_BURST = 1000.0
MAX_PACKETS = 32_768
MAX_BYTES = 16 * 1024 * 1024
"""What is under way in one direction at most: 16 MiB is 1 Gbit/s for 134 ms."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a direction is."""

    delay_ms: float = 0.0
    """One way."""
    jitter_ms: float = 0.0
    """Each packet takes up to this much longer, uniformly."""
    loss: float = 0.0
    """The share of packets that are lost, 0–1."""
    burst: float = 1.0
    """How many packets are lost together, on average. 1 is independently of each other; more are the bursts
    of Gilbert's model: a state in which all is lost, and one in which nothing is."""
    reorder: bool = False
    """Whether jitter lets a packet overtake those before it. Without, it holds back those behind it."""

    def __post_init__(self) -> None:
        for name, most in (("delay_ms", MAX_DELAY_MS), ("jitter_ms", MAX_DELAY_MS), ("loss", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 0–{most:g}")
        if not 1 <= self.burst <= MAX_BURST:
            raise ValueError(f"burst must be 1–{MAX_BURST:g} packets")
        if self.burst > 1 and self.loss * (self.burst + 1) > self.burst:
            raise ValueError(
                f"bursts of {self.burst:g} packets lose at most {self.burst / (self.burst + 1):g}"
            )


@dataclass(slots=True)
class Counts:
    """What became of the packets of a direction."""

    offered: int = 0
    delivered: int = 0
    lost: int = 0
    """By the link's loss."""
    cut: int = 0
    """That came while the direction was cut, or were under way when it was."""
    overflowed: int = 0
    """For which there was no room."""
    refused: int = 0
    """Due, but not taken by the other end, whose interface is down or gone."""


class DelayLine:
    """One direction. Times are monotonic; the caller's clock never goes back."""

    def __init__(
        self,
        conditions: Conditions,
        seed: str = "",
        *,
        max_packets: int = MAX_PACKETS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.counts = Counts()
        self.is_cut = False
        self._conditions = conditions
        self._max_packets, self._max_bytes = max_packets, max_bytes
        self._losses, self._jitters = Random(f"loss {seed}"), Random(f"jitter {seed}")  # noqa: S311
        self._is_losing = False
        self._under_way: list[tuple[int, int, bytes]] = []
        """A heap of (due, number, packet)."""
        self._bytes = 0
        self._number = 0
        self._last_due_ns = 0

    @property
    def conditions(self) -> Conditions:
        """Those for packets to come. What is under way stays due when it is; in order, so what comes next
        is not before it.
        """
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._is_losing = False

    @property
    def queued(self) -> int:
        """Packets under way."""
        return len(self._under_way)

    @property
    def due_ns(self) -> int | None:
        """When the next packet is due; None without one."""
        return self._under_way[0][0] if self._under_way else None

    def cut(self) -> None:
        """Lose what is under way and all that comes, until `restore`. Idempotent."""
        self.is_cut = True
        self.counts.cut += len(self._under_way)
        self._under_way.clear()
        self._bytes = 0

    def restore(self) -> None:
        """Carry packets again. Idempotent."""
        self.is_cut = False

    def offer(self, packet: bytes, now_ns: int) -> None:
        """A packet comes."""
        counts = self.counts
        counts.offered += 1
        if self.is_cut:
            counts.cut += 1
        elif self._is_lost():
            counts.lost += 1
        elif len(self._under_way) >= self._max_packets or self._bytes + len(packet) > self._max_bytes:
            counts.overflowed += 1
        else:
            self._bytes += len(packet)
            self._number += 1
            heapq.heappush(self._under_way, (self._due(now_ns), self._number, packet))

    def take_due(self, now_ns: int) -> list[bytes]:
        """The packets that are due, the one that was due first before the others."""
        under_way = self._under_way
        taken = []
        while under_way and under_way[0][0] <= now_ns:
            packet = heapq.heappop(under_way)[2]
            self._bytes -= len(packet)
            taken.append(packet)
        self.counts.delivered += len(taken)
        return taken

    def refuse(self) -> None:
        """One of the packets that were taken could not be delivered."""
        self.counts.delivered -= 1
        self.counts.refused += 1

    def _due(self, now_ns: int) -> int:
        conditions = self._conditions
        late_ms = conditions.delay_ms
        if conditions.jitter_ms:
            late_ms += conditions.jitter_ms * self._jitters.random()
        due_ns = now_ns + int(late_ms * 1e6)
        if not conditions.reorder:
            due_ns = max(due_ns, self._last_due_ns)
        self._last_due_ns = max(due_ns, self._last_due_ns)
        return due_ns

    def _is_lost(self) -> bool:
        loss, burst = self._conditions.loss, self._conditions.burst
        if not loss:
            return False
        if burst == 1:
            return self._losses.random() < loss
        changes = 1 / burst if self._is_losing else loss / (burst * (1 - loss))
        if self._losses.random() < changes:
            self._is_losing = not self._is_losing
        return self._is_losing
