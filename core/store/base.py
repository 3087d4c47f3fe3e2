"""What a store can do, and how it fails. Values are short; nothing is believed because a store said it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from core.errors import VoxpopError
from core.geo import Position

MAX_VALUE_BYTES: Final = 512
"""The longest value that anybody of ours writes."""
READ_BYTES: Final = MAX_VALUE_BYTES + 1
"""As much is read of a value at most, so that a megabyte in its place costs no more than a record."""
NOT_A_STRING: Final = b"\0"
"""Read where there is something else than a string, such as a list: no value of ours."""
MAX_BATCH: Final = 1024
"""Keys or entries of one call."""


class StoreReason(StrEnum):
    """Why a store did not do what it was asked to; a metric label."""

    UNREACHABLE = "unreachable"
    """No connection, or one that broke."""
    SLOW = "slow"
    """No answer within `store.timeout_ms`."""
    DENIED = "denied"
    """Wrong user or password, or a right that the user has not."""
    FULL = "full"
    """It has reached its maxmemory and evicts nothing."""
    READ_ONLY = "read_only"
    """A replica, or a primary that has lost its replicas."""
    NOT_READY = "not_ready"
    """It loads its data, or its Cluster is down."""
    UNSUPPORTED = "unsupported"
    """It does not know a command: too old, or the command was renamed."""
    BREAKER_OPEN = "breaker_open"
    """Not asked, as it has failed before."""
    OTHER = "other"


class StoreError(VoxpopError):
    """A store did not do what it was asked to. `detail` is for the log, and has no values in it."""

    def __init__(self, reason: StoreReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Entry(NamedTuple):
    """A value to be written, and how long it is to stay."""

    key: bytes
    value: bytes
    ttl_ms: int


class Place(NamedTuple):
    """A member of a GEO set. Degrees, WGS 84; Redis keeps them to within a metre."""

    member: bytes
    longitude: float
    latitude: float

    @property
    def position(self) -> Position:
        """Without the name."""
        return Position(self.latitude, self.longitude)


class Announcement(NamedTuple):
    """A value to be written, its name on a list, and a place, where there is one."""

    entry: Entry
    list_key: bytes
    name: bytes
    score: float
    keep: int
    """As many names stay on the list, those of the highest scores."""
    places_key: bytes
    place: Place | None


class Store(Protocol):
    """Every call is one round trip, ends within the store's timeout and raises StoreError alone."""

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes]:
        """The values, each at most READ_BYTES of it; empty where there is none."""

    async def set_many(self, entries: Sequence[Entry]) -> None:
        """Write, one command for each. Where some fail, the others are written all the same."""

    async def agree(self, key: bytes, proposal: bytes) -> bytes:
        """The value of a key, which is `proposal` where it had none. It does not expire."""

    async def announce(self, announcement: Announcement) -> bytes:
        """Write a value, put its name on a list with a score, or give it another there, and a place into a
        GEO set, or move it there. Returns what the key had before, as `get_many` does.
        """

    async def listed(self, key: bytes, limit: int) -> list[bytes]:
        """The names of a list that have the highest scores, highest first, at most `limit`."""

    async def places(self, key: bytes, longitude: float, latitude: float, limit: int) -> list[Place]:
        """The members of a GEO set that are nearest to a place, nearest first, at most `limit`."""

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
