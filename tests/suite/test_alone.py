"""Who is alone waits for the others, and the others for who is alone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.suite.alone import Room

PATIENCE_S = 20.0


class Guest:
    """A test of another worker, as long as it is not told to end."""

    def __init__(self, folder: Path, *, is_alone: bool) -> None:
        self.is_in = threading.Event()
        self._leave = threading.Event()
        self._room, self._is_alone = Room(folder), is_alone
        self._thread = threading.Thread(target=self._stay)
        self._thread.start()

    def _stay(self) -> None:
        with self._room.entered(is_alone=self._is_alone):
            self.is_in.set()
            self._leave.wait(PATIENCE_S)

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(PATIENCE_S)


def test_others_are_together(tmp_path: Path) -> None:
    guests = [Guest(tmp_path, is_alone=False) for _ in range(2)]
    assert all(guest.is_in.wait(PATIENCE_S) for guest in guests)
    for guest in guests:
        guest.leave()


def test_one_that_is_alone_comes_when_the_others_have_gone_and_before_those_after_it(tmp_path: Path) -> None:
    early = Guest(tmp_path, is_alone=False)
    assert early.is_in.wait(PATIENCE_S)
    alone = Guest(tmp_path, is_alone=True)
    while not is_taken(tmp_path / "turnstile.lock"):
        assert not alone.is_in.is_set()
        time.sleep(0.001)
    late = Guest(tmp_path, is_alone=False)
    assert not alone.is_in.is_set()
    early.leave()
    assert alone.is_in.wait(PATIENCE_S)
    assert not late.is_in.is_set()
    alone.leave()
    assert late.is_in.wait(PATIENCE_S)
    late.leave()


def is_taken(lock: Path) -> bool:
    """Whether anybody waits behind it."""
    return str(lock.stat().st_ino) in Path("/proc/locks").read_text() if lock.exists() else False
