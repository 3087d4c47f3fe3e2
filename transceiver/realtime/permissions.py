"""What a client that is not trusted may send over its event channel, and what it is shown.

A page is in the hands of whoever uses it. The server that makes its call, or its client secret, says in
`session.client.data_channel` which events go through, as GPT-Live has it: `allowed_client_events` and
`allowed_server_events`, lists of types. What is left out, and "all", allows all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.errors import ConfigError
from transceiver.realtime.event import Event

MEMBER: Final = "client"
"""Of a session object; never for a backend."""
CHANNEL: Final = "data_channel"
SENDS: Final = "allowed_client_events"
SEES: Final = "allowed_server_events"
ALL: Final = "all"
NESTED: Final = "response.event"
"""A type of GPT-Live's that stands for as many as are nested in it; a list has them one by one."""
MAX_TYPES: Final = 128
MAX_TYPE_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class Permissions:
    """Types of events; None for all."""

    sends: frozenset[str] | None = None
    sees: frozenset[str] | None = None

    def lets(self, event: Event) -> bool:
        """Whether the client may send it."""
        return self.sends is None or event.get("type") in self.sends

    def shows(self, event: Event) -> bool:
        """Whether the client gets it."""
        return self.sees is None or event.get("type") in self.sees

    def describe(self) -> str:
        """A sentence for who programs the client."""
        sends, sees = (_listed(types) for types in (self.sends, self.sees))
        return f"This client may send {sends}, and is sent {sees}."

    def updated(self, client: object) -> Permissions:
        """With what a `session.client` has; lists that are not there do not change. Raises ConfigError, also
        for a member that we do not know: a mistyped one would allow what it is to forbid.
        """
        if client is None:
            return EVERYTHING
        channel = _members(client, (CHANNEL,), f"session.{MEMBER}").get(CHANNEL, {})
        if channel is None:
            return EVERYTHING
        lists = _members(channel, (SENDS, SEES), f"session.{MEMBER}.{CHANNEL}")
        sends = _types(lists[SENDS], SENDS) if SENDS in lists else self.sends
        sees = _types(lists[SEES], SEES) if SEES in lists else self.sees
        return Permissions(sends, sees)


EVERYTHING: Final = Permissions()


def take_permissions(session: Event, held: Permissions = EVERYTHING) -> tuple[Event, Permissions]:
    """A session object without what it says of permissions, and those. Raises ConfigError."""
    if MEMBER not in session:
        return session, held
    rest = {key: value for key, value in session.items() if key != MEMBER}
    return rest, held.updated(session[MEMBER])


def _members(value: object, known: tuple[str, ...], place: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError([f"{place} must be an object"])
    if not value.keys() <= set(known):
        raise ConfigError([f"{place} may have {' and '.join(known)}, and nothing else"])
    return value


def _types(value: object, name: str) -> frozenset[str] | None:
    if value is None or value == ALL:
        return None
    if isinstance(value, list) and len(value) <= MAX_TYPES:
        types = [_type(each) for each in value]
        if None not in types:
            return frozenset(each for each in types if each is not None)
    place = f"session.{MEMBER}.{CHANNEL}.{name}"
    raise ConfigError([f"{place} must be {ALL!r}, or a list of at most {MAX_TYPES} types of events"])


def _type(value: object) -> str | None:
    """A type, as text or as GPT-Live's selector; None for what is neither."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TYPE_CHARS else None
    if not isinstance(value, Mapping) or not value.keys() <= {"type", "response_event"}:
        return None
    outer, inner = value.get("type"), value.get("response_event")
    if not isinstance(outer, str) or (outer == NESTED) != isinstance(inner, str):
        return None
    whole = outer if inner is None else f"{outer} {inner}"
    return whole if len(whole) <= MAX_TYPE_CHARS else None


def _listed(types: frozenset[str] | None) -> str:
    if types is None:
        return "every event"
    return ", ".join(sorted(types)) or "none"
