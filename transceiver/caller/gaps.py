"""When a call was silent: the longest gaps between its audio packets, with when they were. Sans-IO."""

from __future__ import annotations

import heapq
from typing import NamedTuple

NOTABLE_NS = 60_000_000
"""Three packets of 20 ms: what is shorter no jitter buffer lets through to an ear."""
MAX_GAPS = 16
SEQUENCE_NUMBERS = 1 << 16


class Gap(NamedTuple):
    """A time without audio."""

    length_ns: int
    began_ns: int
    """When the last packet before it came, monotonic."""
    lost: int
    """Packets that are missing between those at its two ends, by sequence numbers (RFC 3550 §5.1). Of one
    that is open nothing is known yet: 0.
    """
    is_open: bool = False
    """No packet has come since."""


class AudioGaps:
    """Of one call. Keeps the `MAX_GAPS` longest of those that are `NOTABLE_NS` or longer."""

    def __init__(self) -> None:
        self._heap: list[Gap] = []
        self._last_ns: int | None = None
        self._sequence = 0
        self.longest_ns = 0
        """Between two packets; see `open_ns` for what has not ended."""

    def packet(self, sequence: int, now_ns: int) -> None:
        """An authentic packet came; `sequence` is its number, mod 2¹⁶."""
        if self._last_ns is None:
            self._last_ns, self._sequence = now_ns, sequence
            return
        ahead = (sequence - self._sequence) % SEQUENCE_NUMBERS
        is_late = ahead >= SEQUENCE_NUMBERS // 2
        length_ns = now_ns - self._last_ns
        if length_ns >= NOTABLE_NS:
            self._keep(Gap(length_ns, self._last_ns, 0 if is_late else max(0, ahead - 1)))
        self.longest_ns = max(self.longest_ns, length_ns)
        self._last_ns = now_ns
        if not is_late:
            self._sequence = sequence

    def forget(self) -> None:
        """Leave out what was until now."""
        self._heap.clear()
        self.longest_ns = 0

    def open_ns(self, now_ns: int) -> int:
        """Since the last packet; 0 when there was none."""
        return 0 if self._last_ns is None else max(0, now_ns - self._last_ns)

    def until(self, now_ns: int) -> list[Gap]:
        """In order of time; one that is still open is the last."""
        found = sorted(self._heap, key=lambda gap: gap.began_ns)
        open_ns = self.open_ns(now_ns)
        if self._last_ns is not None and open_ns >= NOTABLE_NS:
            found.append(Gap(open_ns, self._last_ns, 0, is_open=True))
        return found

    def _keep(self, gap: Gap) -> None:
        keep = heapq.heappush if len(self._heap) < MAX_GAPS else heapq.heappushpop
        keep(self._heap, gap)
