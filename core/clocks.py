"""Whether the clocks of two hosts agree, by the HTTP `Date` (RFC 9110 §6.6.1) that each sends the other.

Tokens are dated, and a relay judges by its own clock how long they are good for. So a transceiver compares by
the answers of relays, and a relay by the requests of transceivers: whoever is looked at first tells.
"""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime

TOLERANCE_S = 60.0
"""Tokens are dated in minutes, and outlive their calls by five."""


def http_date(now_s: float) -> str:
    """The `Date` of a message that is written now, Unix time."""
    return formatdate(now_s, usegmt=True)


def ahead_s_untrusted(date: str | None, now_s: float) -> float | None:
    """By how much the clock that wrote a `Date` is ahead of ours, seconds, to the second and a half; None
    where it says nothing. `now_s` is Unix time when it was written, as we have it.
    """
    try:
        written = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    ahead_s = written + 0.5 - now_s  # it is cut to whole seconds
    return 0.0 if abs(ahead_s) <= 1.5 else ahead_s


def is_off(ahead_s: float, was_off: bool) -> bool:
    """Whether clocks are too far apart. Half the tolerance lies between the two answers, so that a clock on
    the edge of it fills no log.
    """
    return abs(ahead_s) > (TOLERANCE_S / 2 if was_off else TOLERANCE_S)


def describe(ahead_s: float) -> str:
    """`7200 s ahead of`, `90 s behind`: what is followed by whose clock it is compared with."""
    return f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'}"
