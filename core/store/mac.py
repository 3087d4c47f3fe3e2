"""The last field of what hosts leave for each other in the store: a MAC, as text.

HMAC-SHA-256 cut to 16 bytes, in base64 without padding: 22 characters. What it is made over, and by which of
the derived keys, is for each kind of value to say, so that none can be taken for another.
"""

from __future__ import annotations

import binascii
import hmac

MAC_BYTES = 16
CLOCK_TOLERANCE_S = 120
"""How far apart the clocks of two hosts may be. The store's own expiry does not depend on it."""


def seal(body: bytes, digest: bytes) -> bytes:
    """A value: its fields, and the MAC behind them."""
    return body + b" " + binascii.b2a_base64(digest[:MAC_BYTES], newline=False).rstrip(b"=")


def read_mac_untrusted(text: bytes) -> bytes:
    """The bytes of the last field, of any length, not believed yet. Raises ValueError."""
    return binascii.a2b_base64(text + b"==", strict_mode=True)


def is_right(mac: bytes, digest: bytes) -> bool:
    """Whether it is the one that there ought to be. In constant time."""
    return hmac.compare_digest(mac, digest[:MAC_BYTES])
