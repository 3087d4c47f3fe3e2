"""Keys that can be wiped, and do not show."""

from __future__ import annotations

from transceiver.media.keys import SrtpKeys, wipe

PROFILE = "SRTP_AES128_CM_SHA1_80"


def test_keys_do_not_show_in_a_repr() -> None:
    shown = repr(SrtpKeys(PROFILE, bytearray(b"\xff" * 30), bytearray(b"\xff" * 30)))
    assert "255" not in shown
    assert "xff" not in shown
    assert PROFILE in shown


def test_wiping_overwrites_and_leaves_the_length() -> None:
    receive, send = bytearray(b"\x01" * 30), bytearray(b"\x02" * 30)
    seen = memoryview(receive), memoryview(send)
    keys = SrtpKeys(PROFILE, receive, send)
    keys.wipe()
    keys.wipe()
    assert seen == (bytes(30), bytes(30)), "where they were, and not elsewhere"


def test_nothing_is_wiped_to_nothing() -> None:
    empty = bytearray()
    wipe(empty)
    assert empty == b""
