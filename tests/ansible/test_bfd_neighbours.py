"""The module that asks neighbours for BFD: its packet, and what it takes for one."""

from __future__ import annotations

import pytest

from tests.ansible.plugins import module

bfd = module("modules", "bfd_neighbours")
# Version 1, no diagnostic; Down, no flags; multiplier 3, 24 bytes; then discriminators and a second, in µs.
DOWN = bytes.fromhex("20400318 00000001 00000000 000f4240 000f4240 00000000")


def test_a_session_that_is_down_says_so_once_a_second() -> None:
    assert bfd.down_packet(1) == DOWN


def test_packets_of_any_state_count() -> None:
    assert bfd.is_bfd_untrusted(DOWN)
    assert bfd.is_bfd_untrusted(b"\x20\xc0" + DOWN[2:] + bytes(4)), "up, and bytes behind it"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DOWN[:23],
        b"\x40" + DOWN[1:],
        DOWN[:2] + b"\0" + DOWN[3:],
        DOWN[:3] + b"\x17" + DOWN[4:],
        DOWN[:3] + b"\x19" + DOWN[4:],
        DOWN[:4] + bytes(4) + DOWN[8:],
    ],
    ids=["empty", "cut", "version", "multiplier", "short_length", "long_length", "discriminator"],
)
def test_what_is_none_does_not(data: bytes) -> None:
    assert not bfd.is_bfd_untrusted(data)
