"""ICE user fragments (RFC 8839 §5.4) and the USERNAME that joins two of them (RFC 8445 §7.2.2)."""

from __future__ import annotations

ICE_CHARS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

UFRAG_MIN, UFRAG_MAX = 4, 256
PASSWORD_MIN, PASSWORD_MAX = 22, 256


def split_username_untrusted(username: bytes) -> tuple[bytes, bytes] | None:
    """(receiver's ufrag, sender's ufrag) of a binding request; None without a colon."""
    receiver, colon, sender = username.partition(b":")
    return (receiver, sender) if colon else None


def shorten(ufrag: str) -> str:
    """How a ufrag is shown to people: enough to tell two apart, too little to use.

    A seventh of it from the middle, where a token has its session number; its beginning is the same for
    all tokens of a host.
    """
    middle = len(ufrag) // 2
    return f"…{ufrag[middle : middle + len(ufrag) // 7]}…"
