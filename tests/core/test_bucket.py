"""Tokens by a clock that is a value."""

from __future__ import annotations

import pytest

from core.bucket import NS_PER_S, TokenBucket


def test_a_burst_and_then_a_rate() -> None:
    bucket = TokenBucket(2, 5, 0)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    assert bucket.wait_ns() == NS_PER_S // 2
    bucket.refill(NS_PER_S // 2 - 1)
    assert not bucket.take()
    bucket.refill(NS_PER_S // 2)
    assert bucket.wait_ns() == 0
    assert bucket.take()
    assert not bucket.is_full


def test_it_does_not_run_over_and_time_does_not_go_back() -> None:
    bucket = TokenBucket(1, 2, NS_PER_S)
    bucket.refill(100 * NS_PER_S)
    assert bucket.is_full
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    bucket.refill(50 * NS_PER_S)
    bucket.refill(100 * NS_PER_S)
    assert not bucket.take()


def test_more_than_it_holds_takes_all_and_is_owed() -> None:
    bucket = TokenBucket(1, 2, 0)
    assert bucket.take(4)
    assert not bucket.take()
    assert bucket.wait_ns() == 3 * NS_PER_S


def test_what_others_have_taken_is_owed_within_bounds() -> None:
    bucket = TokenBucket(1, 3, 0)
    bucket.debit(100)
    bucket.refill(4 * NS_PER_S - 1)
    assert not bucket.take()
    bucket.refill(4 * NS_PER_S)
    assert bucket.take()


@pytest.mark.parametrize("per_s", [1 << 62, 10**9])
def test_one_that_is_as_good_as_unlimited(per_s: int) -> None:
    bucket = TokenBucket(per_s, per_s, 0)
    assert all(bucket.take() for _ in range(1000))


@pytest.mark.parametrize("per_s", [1, 3, 7, 10**6])
def test_the_wait_is_told_to_the_nanosecond(per_s: int) -> None:
    bucket = TokenBucket(per_s, 1, 0)
    assert bucket.take()
    wait_ns = bucket.wait_ns()
    bucket.refill(wait_ns - 1)
    assert not bucket.take()
    bucket.refill(wait_ns)
    assert bucket.take()
