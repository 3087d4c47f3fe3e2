"""STUN messages (RFC 8489): the parser that strangers' bytes meet first, and the writer.

The parser walks the attributes once and remembers where they are; nothing is decoded until it is
asked for. Anything that breaks a rule raises `StunError` with one of `StunReason`, whatever the bytes.

     0                   1                   2                   3
    |0 0|  type (14 bits)           |  length, of what follows 20 bytes |
    |                 magic cookie 0x2112A442                           |
    |                 transaction id, 12 bytes                          |
    | attribute: type (16), length (16), value padded to 4 bytes | …
"""

from __future__ import annotations

import hmac
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from core.addr import Endpoint, pack_address, unpack_address
from core.errors import StunError

HEADER_BYTES = 20
TRANSACTION_BYTES = 12
MAGIC_COOKIE = 0x2112A442
COOKIE_BYTES = MAGIC_COOKIE.to_bytes(4, "big")
FINGERPRINT_XOR = 0x5354554E
INTEGRITY_BYTES = 20
MAX_ATTRIBUTES = 32
"""Real clients send at most 9; a walk that a stranger pays for must end soon."""

_HEADER = struct.Struct("!HHL12s")
_ATTRIBUTE = struct.Struct("!HH")
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!L")
_U64 = struct.Struct("!Q")


class MessageType(IntEnum):
    """Method Binding (0x001) in its four classes (RFC 8489 §5)."""

    BINDING_REQUEST = 0x0001
    BINDING_INDICATION = 0x0011
    BINDING_RESPONSE = 0x0101
    BINDING_ERROR = 0x0111


class Attribute(IntEnum):
    """The attributes that ICE uses (RFC 8489 §18.3, RFC 8445 §16.1)."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    NOMINATION = 0x0030
    """draft-thatcher-ice-renomination, as Pion and those who learnt from it number it."""
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    GOOG_NOMINATION = 0xC001
    """NOMINATION, as libwebrtc numbers it."""


UNDERSTOOD = frozenset(a for a in Attribute if a < 0x8000) | {
    0x0001,  # MAPPED-ADDRESS, which servers may send beside the XORed one
    0x0003,  # CHANGE-REQUEST (RFC 5780 §7.2), all zeros from libraries that grew up with RFC 3489
    0x0014,  # REALM
    0x0015,  # NONCE
    0x001C,  # MESSAGE-INTEGRITY-SHA256
    0x001D,  # PASSWORD-ALGORITHM
    0x0026,  # PADDING (RFC 5780 §7.6), which probes of the path's MTU are filled with
}
"""Comprehension-required attributes that are no reason for a 420 (RFC 8489 §6.3.1): we act on them, or a
check means the same without them.
"""


class StunReason(StrEnum):
    """Why bytes are not an acceptable STUN message; a metric label."""

    TRUNCATED = "stun_truncated"
    BAD_COOKIE = "stun_bad_cookie"
    BAD_TYPE = "stun_bad_type"
    BAD_LENGTH = "stun_bad_length"
    BAD_ATTRIBUTE = "stun_bad_attribute"
    TOO_MANY_ATTRIBUTES = "stun_too_many_attributes"
    BAD_FINGERPRINT = "stun_bad_fingerprint"


@dataclass(frozen=True, slots=True)
class Message:
    """A STUN message whose structure has been checked; its integrity has not."""

    data: bytes
    type: int
    offsets: dict[int, tuple[int, int]]
    """Attribute type → (offset, length) of its value, first occurrence only (RFC 8489 §14)."""

    @property
    def transaction_id(self) -> bytes:
        """12 bytes."""
        return self.data[8:HEADER_BYTES]

    def get(self, attribute: int) -> bytes | None:
        """The value of an attribute, or None."""
        place = self.offsets.get(attribute)
        return None if place is None else self.data[place[0] : place[0] + place[1]]

    @property
    def unknown_required(self) -> list[int]:
        """Comprehension-required attributes that we do not know: the list of a 420 response."""
        return [a for a in self.offsets if a < 0x8000 and a not in UNDERSTOOD]

    def is_authentic(self, password: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and right for a short-term credential (RFC 8489 §9.1.4)."""
        place = self.offsets.get(Attribute.MESSAGE_INTEGRITY)
        if place is None:
            return False
        value = place[0]
        expected = _integrity(self.data[: value - 4], password)
        return hmac.compare_digest(expected, self.data[value : value + INTEGRITY_BYTES])


def is_binding_request_untrusted(data: bytes | memoryview) -> bool:
    """A cheap gate that promises nothing more than type, cookie and a header's worth of bytes."""
    return len(data) >= HEADER_BYTES and data[:2] == b"\0\x01" and data[4:8] == COOKIE_BYTES


def parse_untrusted(data: bytes) -> Message:
    """Check the structure of a STUN message and find its attributes. Raises StunError."""
    size = len(data)
    if size < HEADER_BYTES:
        raise StunError(StunReason.TRUNCATED)
    message_type, length, cookie, _ = _HEADER.unpack_from(data)
    if message_type & 0xC000:
        raise StunError(StunReason.BAD_TYPE)
    if cookie != MAGIC_COOKIE:
        raise StunError(StunReason.BAD_COOKIE)
    if length & 3 or length + HEADER_BYTES != size:
        raise StunError(StunReason.BAD_LENGTH)
    return Message(data, message_type, _walk_untrusted(data, size))


def _walk_untrusted(data: bytes, size: int) -> dict[int, tuple[int, int]]:
    offsets: dict[int, tuple[int, int]] = {}
    position = HEADER_BYTES
    count = 0
    protected = False
    while position < size:
        # The length is a multiple of 4, so four bytes are always left here.
        kind, length = _ATTRIBUTE.unpack_from(data, position)
        value = position + 4
        position = value + ((length + 3) & ~3)
        count += 1
        if position > size:
            raise StunError(StunReason.BAD_ATTRIBUTE)
        if count > MAX_ATTRIBUTES:
            raise StunError(StunReason.TOO_MANY_ATTRIBUTES)
        if kind == Attribute.FINGERPRINT:
            _check_fingerprint_untrusted(data, value, length, size)
        elif protected:
            continue  # RFC 8489 §14.5: what follows MESSAGE-INTEGRITY is not protected, so not read
        elif kind == Attribute.MESSAGE_INTEGRITY:
            if length != INTEGRITY_BYTES:
                raise StunError(StunReason.BAD_ATTRIBUTE)
            protected = True
        offsets.setdefault(kind, (value, length))
    return offsets


def _check_fingerprint_untrusted(data: bytes, value: int, length: int, size: int) -> None:
    """RFC 8489 §14.7: four bytes, the last attribute, CRC-32 of all before it."""
    if length != 4 or value + 4 != size:
        raise StunError(StunReason.BAD_FINGERPRINT)
    if _U32.unpack_from(data, value)[0] != zlib.crc32(data[: value - 4]) ^ FINGERPRINT_XOR:
        raise StunError(StunReason.BAD_FINGERPRINT)


def _integrity(before: bytes, password: bytes) -> bytes:
    """HMAC-SHA1 of the message up to the attribute, its length field counting the attribute in."""
    length = len(before) - HEADER_BYTES + 4 + INTEGRITY_BYTES
    return hmac.digest(password, before[:2] + _U16.pack(length) + before[4:], "sha1")


def encode(
    message_type: int,
    transaction_id: bytes,
    attributes: Sequence[tuple[int, bytes]],
    password: bytes | None = None,
) -> bytes:
    """A STUN message with FINGERPRINT, and with MESSAGE-INTEGRITY when there is a password.

    `transaction_id` is 12 bytes; ValueError otherwise, for a padded one would answer nobody's request.
    """
    if len(transaction_id) != TRANSACTION_BYTES:
        raise ValueError(f"a transaction id has {TRANSACTION_BYTES} bytes, not {len(transaction_id)}")
    body = b"".join(
        _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) & 3) for kind, value in attributes
    )
    message = _HEADER.pack(message_type, len(body), MAGIC_COOKIE, transaction_id) + body
    if password is not None:
        digest = _integrity(message, password)
        message += _ATTRIBUTE.pack(Attribute.MESSAGE_INTEGRITY, INTEGRITY_BYTES) + digest
    message = message[:2] + _U16.pack(len(message) - HEADER_BYTES + 8) + message[4:]
    crc = zlib.crc32(message) ^ FINGERPRINT_XOR
    return message + _ATTRIBUTE.pack(Attribute.FINGERPRINT, 4) + _U32.pack(crc)


def encode_xor_address(endpoint: Endpoint, transaction_id: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS (RFC 8489 §14.2)."""
    packed = pack_address(endpoint.host)
    family = 1 if len(packed) == 4 else 2
    masked = bytes(a ^ b for a, b in zip(packed, COOKIE_BYTES + transaction_id, strict=False))
    return struct.pack("!BBH", 0, family, endpoint.port ^ (MAGIC_COOKIE >> 16)) + masked


def parse_xor_address_untrusted(value: bytes, transaction_id: bytes) -> Endpoint:
    """The endpoint in a XOR-MAPPED-ADDRESS. Raises StunError."""
    sizes = {1: 4, 2: 16}
    if len(value) < 4 or len(value) - 4 != sizes.get(value[1]):
        raise StunError(StunReason.BAD_ATTRIBUTE)
    packed = bytes(a ^ b for a, b in zip(value[4:], COOKIE_BYTES + transaction_id, strict=False))
    port = _U16.unpack_from(value, 2)[0] ^ (MAGIC_COOKIE >> 16)
    return Endpoint(unpack_address(packed), port)


def encode_error_code(code: int, phrase: str) -> bytes:
    """The value of ERROR-CODE (RFC 8489 §14.8); `code` is 300–699."""
    return struct.pack("!HBB", 0, code // 100, code % 100) + phrase.encode()


def parse_error_code_untrusted(value: bytes) -> int:
    """The code, 300–699, of an ERROR-CODE. Raises StunError."""
    if len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        raise StunError(StunReason.BAD_ATTRIBUTE)
    return (value[2] & 7) * 100 + value[3]


def encode_u32(value: int) -> bytes:
    """PRIORITY (RFC 8445 §7.1.1)."""
    return _U32.pack(value)


def encode_u64(value: int) -> bytes:
    """The tie-breaker of ICE-CONTROLLING and ICE-CONTROLLED (RFC 8445 §7.1.3)."""
    return _U64.pack(value)
