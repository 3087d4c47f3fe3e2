"""Durations in words."""

from __future__ import annotations

import pytest

from core.service.cli.durations import duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (42.7, "42s"), (190, "3m10s"), (18120, "5h02m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("1.5m", 90), ("5m", 300), ("2h", 7200)]
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "1 m", "1d", "1h30m", "٣", "1e3", "inf", "nan"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write 90, 90s, 5m or 1h"):
        parse_duration(text)
