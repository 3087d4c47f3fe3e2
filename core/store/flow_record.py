"""What a relay leaves of a flow for other relays, and what it takes for one.

    1 UFRAG UNTIL MAC        for example  1 IQAB…28 characters…  1796042700 9vJm…22 characters…

The record at the key of (VIP, client) says: a relay that holds the keys had a live flow of this client
at this VIP, led by this ufrag; do not believe it after UNTIL (seconds since the Unix epoch).

The MAC is HMAC-SHA-256 cut to 16 bytes, in base64 without padding, over VIP, client, ufrag and UNTIL,
under a key that follows from the master key of the ufrag's token. Whoever can write to the store and has
no such key can therefore lead nobody's packets anywhere, not even with a valid token of their own, and
cannot copy a record to another address. The token itself passes the whole check, but for its expiry:
calls outlive their tokens (RFC 7675 consent is what keeps them), and UNTIL stands in for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from core.addr import Endpoint
from core.errors import WireError
from core.keyring import Keyring
from core.store.base import MAX_VALUE_BYTES, NOT_A_STRING
from core.store.mac import CLOCK_TOLERANCE_S, is_right, read_mac_untrusted, seal
from core.token import Token, verify_untrusted

VERSION = b"1"
MAX_LEASE_S = 3600


class RecordReason(StrEnum):
    """Why a record is refused; a metric label."""

    TOO_LONG = "record_too_long"
    OTHER_SCHEMA = "record_other_schema"
    MALFORMED = "record_malformed"
    BAD_MAC = "record_bad_mac"
    EXPIRED = "record_expired"
    FROM_FUTURE = "record_from_future"


class RecordError(WireError):
    """A value in the store that is no flow record of this VIP and client."""


class FlowRecord(NamedTuple):
    """What a record that passed every check says."""

    ufrag: bytes
    token: Token
    until_s: int


def encode(vip: Endpoint, client: Endpoint, ufrag: bytes, until_s: int, keyring: Keyring) -> bytes:
    """The value of a flow's record. Raises TokenError for a ufrag whose key is in the keyring no more."""
    token = verify_untrusted(ufrag, keyring)
    until = b"%d" % until_s
    return seal(b" ".join((VERSION, ufrag, until)), _digest(keyring, token.key_id, vip, client, ufrag, until))


def decode_untrusted(
    value: bytes, vip: Endpoint, client: Endpoint, keyring: Keyring, now_s: int
) -> FlowRecord:
    """What the value at the key of a VIP and a client says. Raises WireError: RecordError, or TokenError.

    `now_s` is the wall clock in seconds since the Unix epoch.
    """
    ufrag, until, mac = _fields_untrusted(value)
    token = verify_untrusted(ufrag, keyring)
    if not is_right(mac, _digest(keyring, token.key_id, vip, client, ufrag, until)):
        raise RecordError(RecordReason.BAD_MAC)
    until_s = int(until)
    if until_s + CLOCK_TOLERANCE_S < now_s:
        raise RecordError(RecordReason.EXPIRED)
    if until_s - MAX_LEASE_S - CLOCK_TOLERANCE_S > now_s:
        raise RecordError(RecordReason.FROM_FUTURE)
    return FlowRecord(ufrag, token, until_s)


def _fields_untrusted(value: bytes) -> tuple[bytes, bytes, bytes]:
    """(ufrag, until, MAC), none of them believed yet."""
    if len(value) > MAX_VALUE_BYTES:
        raise RecordError(RecordReason.TOO_LONG)
    version, *fields = value.split(b" ")
    if version != VERSION and version.isdigit() and fields:  # whatever a later one has behind its number
        raise RecordError(RecordReason.OTHER_SCHEMA)
    if value == NOT_A_STRING or version != VERSION or len(fields) != 3:
        raise RecordError(RecordReason.MALFORMED)
    ufrag, until, text = fields
    if not until.isdigit() or len(until) > 12:
        raise RecordError(RecordReason.MALFORMED)
    try:
        return ufrag, until, read_mac_untrusted(text)
    except ValueError:
        raise RecordError(RecordReason.MALFORMED) from None


def _digest(
    keyring: Keyring, key_id: int, vip: Endpoint, client: Endpoint, ufrag: bytes, until: bytes
) -> bytes:
    text = b"\n".join((str(vip).encode(), str(client).encode(), ufrag, until))
    return keyring.record_mac(key_id, text)
