"""What one side of a session goes by in ICE (RFC 8445 §5.3)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a session is addressed and authenticated by."""

    ufrag: str
    password: str = field(repr=False)
