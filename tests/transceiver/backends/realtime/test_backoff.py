"""When to try again."""

from __future__ import annotations

from transceiver.backends.realtime.backoff import FIRST_S, LONGEST_S, Backoff


def test_delays_double_up_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_s() for _ in range(7)] == [0.25, 0.5, 1, 2, 4, 8, 8]
    backoff.reset()
    assert backoff.next_s() == FIRST_S


def test_the_draw_takes_away_up_to_half() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.next_s() for _ in range(7)][-1] == LONGEST_S / 2
