"""The routing token, whose text form is the ICE ufrag of a Voxpop server.

What is wanted: the relay must learn from the first packet of a stranger where it belongs, without a
look-up, and must not become an open proxy for whoever makes up a packet. What a server tells every
client anyway, and every client repeats in every STUN request, is the ufrag; so the route is in it.

    byte  0      version (3 bits, = 1), key id (5 bits)
    bytes 1–2    cluster id
    bytes 3–6    host, OR-ed into the cluster's IPv4 and IPv6 prefixes
    bytes 7–8    UDP port of the transceiver process
    bytes 9–10   expiry, minutes since the Unix epoch mod 2^16
    bytes 11–12  session number, unique among the live sessions of that process
    bytes 13–20  tag: SipHash-2-4 of bytes 0–12, little-endian as its reference code writes it

21 bytes are 28 characters of unpadded base64, whose alphabet is the ice-char of RFC 8839. All fields
are big-endian. A 64-bit tag is enough because a guess is one packet to us, gets no answer, and a hit
would lead to a transceiver that checks a password the guesser does not have. SipHash, and not HMAC,
because the fast path computes the tag in the kernel. The expiry is compared as a serial number
(RFC 1982), so it may wrap; a token is good for at most 2^15 minutes, about 22 days.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass
from enum import StrEnum

from siphashc import siphash

from core.errors import TokenError
from core.keyring import Keyring

VERSION = 1
TOKEN_BYTES = 21
UFRAG_CHARS = 28
TAG_OFFSET = 13
MAX_LIFETIME_MIN = (1 << 15) - 1

_FIELDS = struct.Struct("!BHLHHH")
_TAG = struct.Struct("<Q")


class TokenReason(StrEnum):
    """Why a ufrag is refused; a metric label."""

    NO_USERNAME = "token_no_username"
    BAD_LENGTH = "token_bad_length"
    BAD_ALPHABET = "token_bad_alphabet"
    BAD_VERSION = "token_bad_version"
    UNKNOWN_KEY = "token_unknown_key"
    BAD_TAG = "token_bad_tag"
    EXPIRED = "token_expired"
    UNKNOWN_CLUSTER = "token_unknown_cluster"
    HOST_OUT_OF_RANGE = "token_host_out_of_range"
    PORT_OUT_OF_RANGE = "token_port_out_of_range"
    NO_PREFIX_IN_FAMILY = "token_no_prefix_in_family"


@dataclass(frozen=True, slots=True)
class Token:
    """The fields of a token that passed every check, or that is about to be minted."""

    key_id: int
    cluster: int
    host: int
    port: int
    expiry_min: int
    """Minutes since the Unix epoch mod 2^16."""
    session: int


def mint(token: Token, keyring: Keyring) -> str:
    """The 28-character ufrag of a token. ValueError for a field out of range or an unknown key id."""
    key = keyring.tag_key(token.key_id)
    if key is None:
        raise ValueError(f"there is no key with id {token.key_id}")
    try:
        fields = _FIELDS.pack(
            VERSION << 5 | token.key_id,
            token.cluster,
            token.host,
            token.port,
            token.expiry_min,
            token.session,
        )
    except struct.error as error:
        raise ValueError(f"a field of {token} does not fit: {error}") from None
    raw = fields + _TAG.pack(siphash(key, fields))
    return binascii.b2a_base64(raw, newline=False).decode()


def open_untrusted(ufrag: bytes, keyring: Keyring, now_min: int) -> Token:
    """Check alphabet, version, key, tag and expiry of a ufrag. Raises TokenError.

    `now_min` is the wall clock in minutes since the Unix epoch. The tag is compared without constant
    time on purpose: nothing is answered, so there is nothing to time.
    """
    token = verify_untrusted(ufrag, keyring)
    if is_expired(token.expiry_min, now_min):
        raise TokenError(TokenReason.EXPIRED)
    return token


def verify_untrusted(ufrag: bytes, keyring: Keyring) -> Token:
    """The same check but for the expiry, for who has another proof that it may be used. Raises TokenError."""
    raw = _decode_untrusted(ufrag)
    key_id = raw[0] & 31
    key = keyring.tag_key(key_id)
    if key is None:
        raise TokenError(TokenReason.UNKNOWN_KEY)
    if siphash(key, raw[:TAG_OFFSET]) != _TAG.unpack_from(raw, TAG_OFFSET)[0]:
        raise TokenError(TokenReason.BAD_TAG)
    _, cluster, host, port, expiry_min, session = _FIELDS.unpack_from(raw)
    return Token(key_id, cluster, host, port, expiry_min, session)


def peek_untrusted(ufrag: bytes) -> Token:
    """The fields of a ufrag without any proof that a minter wrote them: to show, never to act on.

    Raises TokenError for what is no token of this version at all.
    """
    first, cluster, host, port, expiry_min, session = _FIELDS.unpack_from(_decode_untrusted(ufrag))
    return Token(first & 31, cluster, host, port, expiry_min, session)


def _decode_untrusted(ufrag: bytes) -> bytes:
    if len(ufrag) != UFRAG_CHARS:
        raise TokenError(TokenReason.BAD_LENGTH)
    try:
        raw = binascii.a2b_base64(ufrag, strict_mode=True)
    except binascii.Error:
        raise TokenError(TokenReason.BAD_ALPHABET) from None
    if len(raw) != TOKEN_BYTES:
        raise TokenError(TokenReason.BAD_ALPHABET)  # "=" inside: fewer bytes than 28 characters hold
    if raw[0] >> 5 != VERSION:
        raise TokenError(TokenReason.BAD_VERSION)
    return raw


def is_expired(expiry_min: int, now_min: int) -> bool:
    """Serial number comparison (RFC 1982 §3.2): expired from the minute after `expiry_min` on."""
    return 0 < (now_min - expiry_min) & 0xFFFF < 0x8000


def minutes_left(expiry_min: int, now_min: int) -> int:
    """Minutes from now to the expiry, negative when it is past: −32768 to 32767."""
    return ((expiry_min - now_min + 0x8000) & 0xFFFF) - 0x8000


def expiry_after(now_min: int, lifetime_min: int) -> int:
    """The expiry field of a token that is to live `lifetime_min` minutes more."""
    if not 0 <= lifetime_min <= MAX_LIFETIME_MIN:
        raise ValueError(f"a token lives 0–{MAX_LIFETIME_MIN} minutes, not {lifetime_min}")
    return (now_min + lifetime_min) & 0xFFFF
