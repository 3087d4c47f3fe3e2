"""What a host says of itself in the store every two seconds, and what it takes to believe it.

    1 KEY AT STATE TAKEN/ROOM VERSION MAC                           of a transceiver
    1 KEY AT STATE TAKEN/ROOM VERSION FORWARDER PLACE VIPS MAC      of a PoP host

KEY is the id of a master key, AT milliseconds since the Unix epoch, PLACE `LATITUDE,LONGITUDE` or `-`. The
MAC is HMAC-SHA-256 cut to 16 bytes, in base64 without padding, over the key in the store and all that stands
before it, under a key that follows from that master key. Whoever can write to the store and has no master
key can therefore draw no clients anywhere, nor keep them away by a word of their own; they can delete, and
can put back what a host has said within the last two minutes, which readers who have heard more know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.addr import Endpoint, parse_endpoint
from core.errors import WireError
from core.geo import Position
from core.keyring import Keyring
from core.store.base import MAX_VALUE_BYTES, NOT_A_STRING
from core.store.mac import CLOCK_TOLERANCE_S, is_right, read_mac_untrusted, seal

VERSION = b"1"
PERIOD_S: Final = 2.0
TTL_S: Final = 6.0
"""Three of them: one may be lost and one late."""
MAX_ROOM: Final = 100_000_000
MAX_VIPS: Final = 8
MAX_NAME_BYTES: Final = 129
_STALE_MS = int((CLOCK_TOLERANCE_S + TTL_S) * 1000)
_AHEAD_MS = CLOCK_TOLERANCE_S * 1000
_DIGITS = re.compile(rb"[0-9]{1,15}")
_LOAD = re.compile(rb"([0-9]{1,12})/([0-9]{1,12})")
_WORD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9.+_-]{0,23}")
_DEGREES = re.compile(rb"(-?[0-9]{1,3}(?:\.[0-9]{1,6})?),(-?[0-9]{1,3}(?:\.[0-9]{1,6})?)")
_PART = rb"[A-Za-z0-9_.-]{1,64}"
_NAMES = re.compile(rb"(" + _PART + rb"):(" + _PART + rb")")


class HeartbeatReason(StrEnum):
    """Why a heartbeat is ignored; a metric label."""

    TOO_LONG = "too_long"
    OTHER_SCHEMA = "other_schema"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    """Signed with a master key that is not in our keyring."""
    BAD_MAC = "bad_mac"
    STALE = "stale"
    """So old that its host's clock is behind by minutes, or that somebody has kept it."""
    FROM_FUTURE = "from_future"
    ABSURD_LOAD = "absurd_load"
    """More than there can be, or no room at all."""
    OFF_GLOBE = "off_globe"
    REPLAYED = "replayed"
    """Older than what the same host has said before."""
    UNKNOWN_POP = "unknown_pop"
    """Not a [[pop]] here."""
    OTHER_VIPS = "other_vips"
    """Its host lacks some of the VIPs that the [[pop]] has."""
    OTHER_PLACE = "other_place"
    """Its host is somewhere else than the [[pop]], or than another host of it."""


class HeartbeatError(WireError):
    """A value in the store that is no heartbeat of this host, or not to be believed."""


class HostState(StrEnum):
    """Whether a host takes new work."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    UNFIT = "unfit"
    """Started, but a part of it fails: /healthz of the host says which."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What every host says."""

    at_ms: int
    """When it was written, by the host's clock; milliseconds since the Unix epoch."""
    state: HostState
    taken: int
    room: int
    """Flows or calls that there are, and that there may be."""
    version: str

    @property
    def load(self) -> float:
        """The share of its room that is taken, 0 to 1."""
        return min(1.0, self.taken / self.room)


@dataclass(frozen=True, slots=True)
class PopHeartbeat(Heartbeat):
    """What a PoP host says."""

    forwarder: str
    place: tuple[float, float] | None
    """(latitude, longitude), degrees; None where it was not told."""
    vips: tuple[Endpoint, ...]


def encode(heartbeat: Heartbeat, key: bytes, keyring: Keyring) -> bytes:
    """The value for a key in the store, signed with the key that new tokens are minted with."""
    version = heartbeat.version[:24]
    load = f"{heartbeat.taken}/{heartbeat.room}"
    fields = [VERSION.decode(), str(keyring.mint_with), str(heartbeat.at_ms), heartbeat.state, load, version]
    if isinstance(heartbeat, PopHeartbeat):
        place = "-" if heartbeat.place is None else f"{heartbeat.place[0]:.4f},{heartbeat.place[1]:.4f}"
        fields += [heartbeat.forwarder, place, ",".join(map(str, heartbeat.vips))]
    body = " ".join(fields).encode()
    value = seal(body, _digest(keyring, keyring.mint_with, key, body))
    assert len(value) <= MAX_VALUE_BYTES, "eight VIPs and the longest of everything else fit"
    return value


def decode_transceiver_untrusted(value: bytes, key: bytes, keyring: Keyring, now_ms: int) -> Heartbeat:
    """What a transceiver host says. Raises HeartbeatError. `now_ms` is the wall clock."""
    return _common_untrusted(_open_untrusted(value, key, keyring, 6), now_ms)


def decode_pop_untrusted(value: bytes, key: bytes, keyring: Keyring, now_ms: int) -> PopHeartbeat:
    """What a PoP host says. Raises HeartbeatError. `now_ms` is the wall clock."""
    fields = _open_untrusted(value, key, keyring, 9)
    common = _common_untrusted(fields, now_ms)
    forwarder, place, vips = fields[6:]
    return PopHeartbeat(
        common.at_ms, common.state, common.taken, common.room, common.version,
        _word(forwarder), None if place == b"-" else _place(place), _vips(vips),
    )  # fmt: skip


def pop_and_host_untrusted(name: bytes) -> tuple[str, str]:
    """A PoP host's name taken apart. Raises HeartbeatError."""
    match = _NAMES.fullmatch(name)
    if match is None:
        raise HeartbeatError(HeartbeatReason.TOO_LONG if len(name) > MAX_NAME_BYTES else _MALFORMED)
    return match[1].decode(), match[2].decode()


_MALFORMED = HeartbeatReason.MALFORMED


def _open_untrusted(value: bytes, key: bytes, keyring: Keyring, count: int) -> list[bytes]:
    """The fields before the MAC, which is right: a holder of the key has written them for this key."""
    if len(value) > MAX_VALUE_BYTES:
        raise HeartbeatError(HeartbeatReason.TOO_LONG)
    body, _, text = value.rpartition(b" ")
    fields = body.split(b" ")
    if value == NOT_A_STRING or len(fields) < 2:
        raise HeartbeatError(_MALFORMED)
    if fields[0] != VERSION:
        raise HeartbeatError(HeartbeatReason.OTHER_SCHEMA)
    if len(fields) != count or not _DIGITS.fullmatch(fields[1]):
        raise HeartbeatError(_MALFORMED)
    try:
        mac = read_mac_untrusted(text)
    except ValueError:
        raise HeartbeatError(_MALFORMED) from None
    key_id = int(fields[1])
    if key_id not in keyring.key_ids:
        raise HeartbeatError(HeartbeatReason.UNKNOWN_KEY)
    if not is_right(mac, _digest(keyring, key_id, key, body)):
        raise HeartbeatError(HeartbeatReason.BAD_MAC)
    return fields


def _common_untrusted(fields: list[bytes], now_ms: int) -> Heartbeat:
    """A host that has the key may still have lost its senses."""
    _, _, at, state, load, version = fields[:6]
    taken_room = _LOAD.fullmatch(load)
    if not _DIGITS.fullmatch(at) or taken_room is None or state not in _STATES:
        raise HeartbeatError(_MALFORMED)
    at_ms, taken, room = int(at), int(taken_room[1]), int(taken_room[2])
    if at_ms > now_ms + _AHEAD_MS:
        raise HeartbeatError(HeartbeatReason.FROM_FUTURE)
    if at_ms < now_ms - _STALE_MS:
        raise HeartbeatError(HeartbeatReason.STALE)
    if not 0 < room <= MAX_ROOM or taken >= 2 * room:
        raise HeartbeatError(HeartbeatReason.ABSURD_LOAD)
    return Heartbeat(at_ms, _STATES[state], taken, room, _word(version))


_STATES = {state.value.encode(): state for state in HostState}


def _word(text: bytes) -> str:
    if not _WORD.fullmatch(text):
        raise HeartbeatError(_MALFORMED)
    return text.decode()


def _place(text: bytes) -> Position:
    match = _DEGREES.fullmatch(text)
    if match is None:
        raise HeartbeatError(_MALFORMED)
    place = Position(float(match[1]), float(match[2]))
    if not place.is_on_globe:
        raise HeartbeatError(HeartbeatReason.OFF_GLOBE)
    return place


def _vips(text: bytes) -> tuple[Endpoint, ...]:
    parts = text.split(b",")
    try:
        if len(parts) > MAX_VIPS:
            raise ValueError
        return tuple(parse_endpoint(part.decode()) for part in parts)
    except ValueError:  # UnicodeDecodeError is one
        raise HeartbeatError(_MALFORMED) from None


def _digest(keyring: Keyring, key_id: int, key: bytes, body: bytes) -> bytes:
    return keyring.heartbeat_mac(key_id, key + b"\n" + body)
