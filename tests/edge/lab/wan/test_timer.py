"""The kernel's timer, by the clock that it is set by."""

from __future__ import annotations

import select
import time

from edge.lab.wan.timer import Timer

PATIENCE_S = 10.0


def is_readable(timer: Timer, timeout_s: float) -> bool:
    return bool(select.select([timer], [], [], timeout_s)[0])


def test_it_is_readable_from_its_time_on_and_never_before() -> None:
    with Timer() as timer:
        at_ns = time.monotonic_ns() + 3_300_000
        timer.set(at_ns)
        assert is_readable(timer, PATIENCE_S)
        assert time.monotonic_ns() >= at_ns
        assert is_readable(timer, 0)


def test_setting_it_anew_makes_it_wait_anew() -> None:
    with Timer() as timer:
        for over in (0, 1, time.monotonic_ns()):
            timer.set(over)
            assert is_readable(timer, PATIENCE_S), over
        timer.set(time.monotonic_ns() + 3600 * 10**9)
        assert not is_readable(timer, 0)
        timer.set(1)
        assert is_readable(timer, PATIENCE_S)
        timer.set(None)
        assert not is_readable(timer, 0)
