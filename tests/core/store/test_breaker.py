"""The circuit breaker, step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.store.breaker import MS, Breaker, BreakerPolicy, BreakerState

POLICY = BreakerPolicy(failures=3, first_pause_ns=200 * MS, last_pause_ns=5000 * MS)


def fail(breaker: Breaker, now_ns: int, times: int = 1) -> None:
    for _ in range(times):
        assert breaker.admit(now_ns)
        breaker.fail(now_ns)


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(POLICY, lambda: 0.0)
    fail(breaker, 0, 2)
    assert breaker.admit(0)
    breaker.succeed()
    fail(breaker, 0, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 0)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.admit(0)
    assert not breaker.is_ready(0)


def test_one_tries_when_the_pause_is_over_and_closes_it_or_waits_longer() -> None:
    breaker = Breaker(POLICY, lambda: 0.0)  # the shortest pause of each range: half
    fail(breaker, 0, 3)
    assert not breaker.admit(100 * MS - 1)
    assert breaker.is_ready(100 * MS)
    assert breaker.admit(100 * MS)
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.admit(100 * MS)  # by nobody else meanwhile
    breaker.fail(100 * MS)
    assert not breaker.admit(300 * MS - 1)
    assert breaker.admit(300 * MS)
    breaker.succeed()
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 400 * MS, 3)
    assert breaker.is_ready(500 * MS)  # begins with the first pause again


def test_a_try_that_was_cancelled_leaves_room_for_another() -> None:
    breaker = Breaker(POLICY, lambda: 0.0)
    fail(breaker, 0, 3)
    assert breaker.admit(100 * MS)
    breaker.abandon()
    assert breaker.admit(100 * MS)
    breaker.succeed()
    breaker.abandon()
    assert breaker.state is BreakerState.CLOSED


def test_calls_that_fail_late_do_not_count_as_tries() -> None:
    breaker = Breaker(POLICY, lambda: 0.0)
    for _ in range(20):
        assert breaker.admit(0)  # all under way at once
    for _ in range(20):
        breaker.fail(0)
    assert breaker.is_ready(100 * MS)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_are_jittered_and_have_a_limit(opened: int, draw: float) -> None:
    whole = min(POLICY.first_pause_ns * 2 ** min(opened - 1, 60), POLICY.last_pause_ns)
    assert whole / 2 <= POLICY.pause_ns(opened, draw) <= whole
    assert POLICY.pause_ns(opened, 0.0) == pytest.approx(whole / 2)
