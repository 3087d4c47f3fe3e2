"""A process that stands still is ended by the kernel, as a train stops whose driver lets go of the handle."""

from __future__ import annotations

import signal


class Deadman:
    """From `hold` on, the process is killed by SIGALRM unless it holds again within the time."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def hold(self) -> None:
        """Still here."""
        signal.setitimer(signal.ITIMER_REAL, self.limit_s)

    def release(self) -> None:
        """Nothing depends on us any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)
