"""ICE credentials of a client (RFC 8839 §5.4)."""

from __future__ import annotations

import base64
import os
from typing import TypedDict


class Credentials(TypedDict):
    """As `LocalDescription` has them."""

    ufrag: str
    password: str


def fresh_credentials() -> Credentials:
    """48 random bits of ufrag, 192 of password: no two calls or restarts have the same."""
    return Credentials(
        ufrag=base64.b64encode(os.urandom(6)).decode(), password=base64.b64encode(os.urandom(24)).decode()
    )
