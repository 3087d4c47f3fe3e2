"""A circuit breaker: who has failed several times in a row is left alone for a while, then tried by one.

    closed ──failures in a row──▶ open ──the pause is over──▶ half open ──success──▶ closed
                                   ▲                              │
                                   └──────────failure─────────────┘ a longer pause

The pause doubles with each failed try, up to a limit, and is drawn between half of that and all of it
(jitter): a thousand workers that lost one store at one moment do not come back to it at one moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

MS = 1_000_000


class BreakerState(Enum):
    """What callers may do."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One is trying."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """How soon it opens, and for how long."""

    failures: int = 3
    """In a row."""
    first_pause_ns: int = 200 * MS
    last_pause_ns: int = 5000 * MS

    def pause_ns(self, opened: int, draw: float) -> int:
        """The pause after having opened `opened` times in a row, from 1; `draw` is in [0, 1)."""
        whole = min(self.first_pause_ns << min(opened - 1, 32), self.last_pause_ns)
        return int(whole * (0.5 + draw / 2))


class Breaker:
    """See above. `draw` gives numbers in [0, 1), such as `random.random`."""

    def __init__(self, policy: BreakerPolicy, draw: Callable[[], float]) -> None:
        self._policy = policy
        self._draw = draw
        self._failures = 0
        self._opened = 0
        self._until_ns = 0
        self.state = BreakerState.CLOSED

    def is_ready(self, now_ns: int) -> bool:
        """Whether `admit` would say yes."""
        return self.state is BreakerState.CLOSED or (
            self.state is BreakerState.OPEN and now_ns >= self._until_ns
        )

    def admit(self, now_ns: int) -> bool:
        """Whether to make a call now. Who is told yes reports by `succeed`, `fail` or `abandon`."""
        if self.state is BreakerState.CLOSED:
            return True
        if not self.is_ready(now_ns):
            return False
        self.state = BreakerState.HALF_OPEN
        return True

    def succeed(self) -> None:
        """A call was answered."""
        self.state = BreakerState.CLOSED
        self._failures = self._opened = 0

    def fail(self, now_ns: int) -> None:
        """A call was not answered, or with a refusal that others would meet too."""
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or self._failures >= self._policy.failures:
            self._opened += self.state is not BreakerState.OPEN
            self._until_ns = now_ns + self._policy.pause_ns(self._opened, self._draw())
            self.state = BreakerState.OPEN

    def abandon(self) -> None:
        """A call was cancelled, and tells nothing: let the next one try."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN
