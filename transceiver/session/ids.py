"""Session ids: `rtc_`, the number of the process that owns the session, and 128 random bits.

With the owner in it, any process of a host knows where a request about the session belongs; with the
random part, nobody can name a session that they were not told of.
"""

from __future__ import annotations

import re
import secrets

RANDOM_BYTES = 16

_ID = re.compile(r"rtc_([0-9]{1,3})-[A-Za-z0-9_-]{22}")


def new_session_id(owner: int) -> str:
    """A fresh id of a session of process `owner`."""
    return f"rtc_{owner}-{secrets.token_urlsafe(RANDOM_BYTES)}"


def owner_of(session_id: str) -> int | None:
    """The process that an id names; None for what is no id of ours."""
    match = _ID.fullmatch(session_id)
    return None if match is None else int(match[1])
