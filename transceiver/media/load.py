"""How busy the process is, and what the encoder should cost because of it. Sans-IO."""

from __future__ import annotations

NORMAL_COMPLEXITY = 5
"""With voice at our bitrates 5 to 9 cost the same within 3 %, and 0 costs half."""
BUSY_COMPLEXITY = 0
_BUSY_ABOVE = 0.80
_CALM_BELOW = 0.55
"""Far under the other bound: complexity 0 halves the work, which must not count as calm."""


class Load:
    """The share of its core that a thread uses, and the Opus complexity that follows from it."""

    def __init__(self) -> None:
        self.busy = 0.0
        """0–1: CPU time over elapsed time between the last two samples."""
        self.complexity = NORMAL_COMPLEXITY
        self._last: tuple[int, int] | None = None

    def sample(self, cpu_ns: int, now_ns: int) -> None:
        """Take the CPU time that the thread has used so far; meant for once a second."""
        last, self._last = self._last, (cpu_ns, now_ns)
        if last is None or now_ns <= last[1]:
            return
        self.busy = min(1.0, (cpu_ns - last[0]) / (now_ns - last[1]))
        if self.busy > _BUSY_ABOVE:
            self.complexity = BUSY_COMPLEXITY
        elif self.busy < _CALM_BELOW:
            self.complexity = NORMAL_COMPLEXITY
