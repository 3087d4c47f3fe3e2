"""Which calls of a process are whose: of an API key, and of a client secret that stands below it."""

from __future__ import annotations

from collections.abc import Callable, Collection


class CallCounts:
    """By holder: the name of a key, or what stands for a secret. Who has no call takes no room."""

    def __init__(self) -> None:
        self._live: dict[str, set[str]] = {}
        self._pending: dict[str, set[str]] = {}
        self.changed: Callable[[str], None] = _nobody
        """Told of each holder whose numbers are others now."""

    def live(self, holder: str) -> int:
        """All calls of one."""
        return len(self._live.get(holder, ()))

    def pending(self, holder: str) -> int:
        """Those whose client has not arrived."""
        return len(self._pending.get(holder, ()))

    def begin(self, call: str, holders: Collection[str]) -> None:
        """A call is made, and its client has not arrived."""
        for holder in holders:
            self._live.setdefault(holder, set()).add(call)
            self._pending.setdefault(holder, set()).add(call)
            self.changed(holder)

    def arrive(self, call: str, holders: Collection[str]) -> None:
        """Its client is there. Idempotent."""
        for holder in holders:
            if _discard(self._pending, holder, call):
                self.changed(holder)

    def end(self, call: str, holders: Collection[str]) -> None:
        """It is over."""
        for holder in holders:
            _discard(self._pending, holder, call)
            _discard(self._live, holder, call)
            self.changed(holder)


def _discard(calls: dict[str, set[str]], holder: str, call: str) -> bool:
    """Whether it was there."""
    found = calls.get(holder)
    if found is None or call not in found:
        return False
    found.discard(call)
    if not found:
        del calls[holder]
    return True


def _nobody(_: str) -> None:
    """Nobody is told."""
