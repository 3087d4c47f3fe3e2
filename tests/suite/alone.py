"""Tests run side by side in several workers; one that is marked `alone` has the machine to itself.

The room is a file lock that every test shares and a lone one takes for itself. Everybody passes a turnstile
before it, so a lone test waits for the tests that run and not for all that would come meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

MARK = "alone"


class Room:
    """Entered around each test, before its time counts."""

    def __init__(self, folder: Path) -> None:
        self._turnstile = folder / "turnstile.lock"
        self._room = folder / "room.lock"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with self.entered(is_alone=item.get_closest_marker(MARK) is not None):
            return (yield)

    @contextlib.contextmanager
    def entered(self, *, is_alone: bool) -> Iterator[None]:
        """As a test, or as one that is alone; waits as long as it takes."""
        with _opened(self._room) as room:
            with _opened(self._turnstile) as turnstile:
                fcntl.flock(turnstile, fcntl.LOCK_EX)
                fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
            yield


def room_of(config: pytest.Config) -> Path | None:
    """The folder that the workers of a run share; None where a run has no workers."""
    if not hasattr(config, "workerinput"):
        return None
    return Path(config.option.basetemp).parent


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor that no child gets; closing it gives its lock back, as the end of the worker does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
