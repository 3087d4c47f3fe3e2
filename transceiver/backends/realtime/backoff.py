"""When to try again. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 0.25
LONGEST_S = 8.0


class Backoff:
    """Delays that double, each drawn from its upper half, so that calls that were lost together do not come
    back together. `draw` gives 0–1.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._ceiling_s = FIRST_S

    def next_s(self) -> float:
        """The next delay in seconds."""
        ceiling_s, self._ceiling_s = self._ceiling_s, min(self._ceiling_s * 2, LONGEST_S)
        return ceiling_s * (1 + self._draw()) / 2

    def reset(self) -> None:
        """It has worked."""
        self._ceiling_s = FIRST_S
