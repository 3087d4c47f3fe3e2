"""What says that a client is at another address, and when that is then sent to: docs/session.md in words.

Clients differ too much for nomination alone: Chromium nominates with every check of the pair that it
uses, Firefox with the first check of every pair and never again, so a NAT that changes Firefox's port
is followed by media or plain checks. A known address is a spare pair that the client keeps open beside the
one it uses; only a client that sends no media at all makes its checks count, and these come every 6 s.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

MS = 1_000_000
SILENCE_NS = 600 * MS
"""An Opus sender in DTX is heard from every 400 ms (RFC 6716 §2.1.9), any other every 20 ms."""
SPARE_SILENCE_NS = 8_000 * MS
"""Longer than any client's pause between checks of the pair that it uses: 4–6 s."""


class Sign(Enum):
    """What comes from an address that is not the one in use, fresh, and says that the client is there."""

    MEDIA = "authentic media"
    RESTARTED = "a nominating check of a later ICE generation"
    FIRST_NOMINATED = "a nominating check, while the one in use was never nominated"
    RENOMINATED = "a check with a higher NOMINATION than any before"
    BETTER_NOMINATED = "a nominating check with a higher PRIORITY"
    NOMINATED = "any other nominating check"
    NEW = "a check without nomination, or of an old generation, from an address that was not known"
    SPARE = "the same from one that was known"


class Needs(Enum):
    """What the address in use must have been without for an address to take its place."""

    NOTHING = "it gives way at once"
    USE = "media and nominating checks"
    ANYTHING = "anything authentic"


MOVES: Final = {
    Sign.MEDIA: (Needs.NOTHING, 0),  # nobody else can make it, and it is what the call is about
    Sign.RESTARTED: (Needs.NOTHING, 0),
    Sign.FIRST_NOMINATED: (Needs.NOTHING, 0),  # the one in use was provisional
    Sign.RENOMINATED: (Needs.NOTHING, 0),  # it says itself that it comes after
    Sign.BETTER_NOMINATED: (Needs.NOTHING, 0),  # of several nominated the best counts
    Sign.NOMINATED: (Needs.USE, SILENCE_NS),
    Sign.NEW: (Needs.ANYTHING, SILENCE_NS),
    Sign.SPARE: (Needs.ANYTHING, SPARE_SILENCE_NS),
}
"""When another address is sent to: at once, or when the one in use has gone without for so many ns. Either
way it must be proven, and the other is kept for a while: see `paths`."""


def is_due(sign: Sign, used_ns: int, heard_ns: int, now_ns: int) -> bool:
    """Whether the address in use gives way, by `MOVES`. It had media or a nominating check at `used_ns`, and
    anything authentic at `heard_ns`.
    """
    needs, silence_ns = MOVES[sign]
    if needs is Needs.NOTHING:
        return True
    return now_ns - (used_ns if needs is Needs.USE else heard_ns) >= silence_ns
