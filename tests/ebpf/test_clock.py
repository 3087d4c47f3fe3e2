"""Jiffies as userspace sees them."""

from __future__ import annotations

import time

from ebpf.clock import tick_ns
from tests.ebpf.rig import Rig


def test_a_jiffy_is_one_of_the_kernels_choices() -> None:
    assert 10**9 / tick_ns() in (100, 250, 300, 1000)


def test_jiffies_go_with_the_monotonic_clock(rig: Rig) -> None:
    began, first = time.monotonic_ns(), rig.clock.now
    while time.monotonic_ns() - began < 200_000_000:
        last = rig.clock.now
    elapsed = (last - first & 0xFFFFFFFF) * tick_ns()
    assert 150_000_000 < elapsed < time.monotonic_ns() - began + 50_000_000
