"""Jiffies as userspace sees them."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf.clock import MAY_BE_AHEAD, STAMP_MASK, ago, tick_ns
from tests.ebpf.rig import Rig


def test_a_jiffy_is_one_of_the_kernels_choices() -> None:
    assert 10**9 / tick_ns() in (100, 250, 300, 1000)


def test_jiffies_go_with_the_monotonic_clock(rig: Rig) -> None:
    began, first = time.monotonic_ns(), rig.clock.now
    while time.monotonic_ns() - began < 200_000_000:
        last = rig.clock.now
    elapsed = (last - first & 0xFFFFFFFF) * tick_ns()
    assert 150_000_000 < elapsed < time.monotonic_ns() - began + 50_000_000


@given(st.integers(0, STAMP_MASK), st.integers(-MAY_BE_AHEAD, STAMP_MASK - MAY_BE_AHEAD))
@example(3, 5)
@example(STAMP_MASK, -1)
def test_stamps_that_have_begun_anew_are_as_old_as_any(present: int, units: int) -> None:
    seen = np.array([present - units & STAMP_MASK], np.uint16)
    assert ago(seen, present).tolist() == [units]
    assert ago(seen[0], present) == units
