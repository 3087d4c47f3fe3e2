"""Durations, as people write and read them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smh]?)")


def duration(seconds: float) -> str:
    """`0.3s`, `42s`, `3m10s`, `5h02m`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 100:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `1.5m`, `1h`. Raises ValueError."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration: write 90, 90s, 5m or 1h")
    return float(found[1]) * _UNITS[found[2]]
