"""What strangers send to a VIP at the highest rate, as templates for the generator of lab_harness.c.

Each frame of a flood has a source of its own, and eight bytes that are drawn anew, where nothing gives it
away before they are looked at.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from core.addr import Endpoint
from core.keyring import Keyring
from core.stun import Attribute, MessageType, encode
from core.token import Token, mint
from tests.builders import MORE_FRAGMENTS, UdpFrame

STRANGERS = "101.0.0.0"
PORT = 40000
PER_SOURCE = 4
"""Ports of each address that the generator draws from."""
FEW, MILLION = 1_000, 1_000_000
PAYLOAD_AT = 42
"""In a frame: Ethernet, IPv4, UDP."""
USERNAME_AT = PAYLOAD_AT + 24
"""Behind the header of STUN, and that of its first attribute."""
TAG_END_AT = USERNAME_AT + 20
"""The last eight of 28 characters: of the tag alone."""
ANY_BYTE = (0, 2**64 - 1)
ANY_LETTER = (0x4141414141414141, 0x0F0F0F0F0F0F0F0F)
"""A to P: all are of base64's alphabet."""
OVERSIZE = 1472
"""What fills an Ethernet frame: larger than a check may be, and than media is."""


@dataclass(frozen=True)
class Flood:
    """One kind of it."""

    name: str
    frame: bytes
    sources: int
    random_at: int
    """Offset of the bytes that are drawn; 0: none."""
    drawn: tuple[int, int]
    """(what is added, mask) of each word that is drawn."""


def request(ufrag: bytes, password: str = "password") -> bytes:
    """A client's check as browsers send it; its USERNAME comes first."""
    attributes: list[tuple[int, bytes]] = [
        (Attribute.USERNAME, ufrag + b":h6vY"),
        (Attribute.ICE_CONTROLLING, os.urandom(8)),
        (Attribute.PRIORITY, bytes(4)),
    ]
    return encode(MessageType.BINDING_REQUEST, os.urandom(12), attributes, password.encode())


def floods(vip: Endpoint, keyring: Keyring, now_min: int) -> tuple[Flood, ...]:
    """Of every kind, to a VIP of IPv4. The forger knows a valid token, and changes its tag alone."""
    token = Token(keyring.mint_with, 1, 1, 40007, (now_min + 60) & 0xFFFF, 1)
    forged = _frame(vip, request(mint(token, keyring).encode()))
    junk = _frame(vip, os.urandom(160))
    oversize = _frame(vip, b"\x00\x01" + os.urandom(OVERSIZE - 2))
    fragment = bytes(UdpFrame(Endpoint(STRANGERS, PORT), vip, os.urandom(160), fragment=MORE_FRAGMENTS))
    return (
        Flood("forged tokens", forged, FEW, TAG_END_AT, ANY_LETTER),
        Flood("forged tokens, a million sources", forged, MILLION, TAG_END_AT, ANY_LETTER),
        Flood("junk", junk, FEW, PAYLOAD_AT, ANY_BYTE),
        Flood("junk, a million sources", junk, MILLION, PAYLOAD_AT, ANY_BYTE),
        Flood("oversize", oversize, MILLION, PAYLOAD_AT, ANY_BYTE),
        Flood("fragments", fragment, MILLION, PAYLOAD_AT, ANY_BYTE),
    )


def overheard(vip: Endpoint, keyring: Keyring, now_min: int) -> Flood:
    """A valid token, as somebody may have seen it, with sources that are made up."""
    token = Token(keyring.mint_with, 1, 0, 40007, (now_min + 60) & 0xFFFF, 2)
    frame = _frame(vip, request(mint(token, keyring).encode()))
    return Flood("one valid token, a million sources", frame, MILLION, 0, (0, 0))


def _frame(vip: Endpoint, payload: bytes) -> bytes:
    """Without a checksum, which IPv4 allows: as the generator changes what it would cover."""
    return bytes(UdpFrame(Endpoint(STRANGERS, PORT), vip, payload, checksum=False))
