"""What a Date says of somebody's clock, and when two clocks are apart."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from core.clocks import TOLERANCE_S, ahead_s_untrusted, describe, http_date, is_off

NOW_S = 1_900_000_000.4


def at(ahead_s: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(NOW_S + ahead_s), UTC), usegmt=True)


@pytest.mark.parametrize(
    ("date", "ahead_s"),
    [
        (at(0), 0.0),
        (at(1), 0.0),
        (at(3600), 3600.0),
        (at(-7200), -7200.0),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("Mon, 99 Foo 99999 99:99:99 GMT", None),
    ],
)
def test_how_far_a_clock_is_off(date: str | None, ahead_s: float | None) -> None:
    found = ahead_s_untrusted(date, NOW_S)
    assert found == (None if ahead_s is None else pytest.approx(ahead_s, abs=1.0))


@pytest.mark.parametrize("ahead_s", [-86_400, -61, 0, 61, 86_400])
def test_what_one_host_writes_the_other_reads(ahead_s: int) -> None:
    assert http_date(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT", "the example of RFC 9110 §5.6.7"
    assert ahead_s_untrusted(http_date(NOW_S + ahead_s), NOW_S) == pytest.approx(ahead_s, abs=1.0)


def test_a_clock_on_the_edge_is_told_once() -> None:
    told = [False]
    for ahead_s in (
        0,
        TOLERANCE_S,
        -TOLERANCE_S - 1,
        TOLERANCE_S,
        TOLERANCE_S / 2 + 1,
        TOLERANCE_S / 2,
        -TOLERANCE_S,
    ):
        told.append(is_off(ahead_s, told[-1]))
    assert told == [False, False, False, True, True, True, False, False]


def test_an_offset_is_told_with_its_direction() -> None:
    assert (describe(7200.4), describe(-89.6)) == ("7200 s ahead of", "90 s behind")
