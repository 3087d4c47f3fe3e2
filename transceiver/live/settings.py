"""The session object of GPT-Live: read, refused by name where nobody here can do it, and written back.

Unlike a Realtime session's it is closed: a member that the API does not have is an error there, and here.
Most of it is fixed once the session has begun.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from core.errors import ConfigError
from core.schema import integer
from transceiver.realtime.event import Event
from transceiver.realtime.json_text import is_shallow
from transceiver.realtime.permissions import CHANNEL, EVERYTHING, MEMBER, Permissions
from transceiver.realtime.settings import MAX_DEPTH, audio_side

KIND: Final = "live"
"""`type` of a session object, which tells it from a Realtime one where both may stand."""
MAX_ITEMS: Final = 128
"""Of history, as the API has it."""
MAX_CHARS: Final = 98_304
"""Of a whole session object as JSON: it is echoed, and must fit into an event with room to spare."""
MAX_DELAY_MS: Final = 600_000
CLIENT_DELEGATION: Final[Event] = {"type": "client"}
ROLES: Final[Mapping[str, tuple[str, str]]] = {
    "developer": ("system", "input_text"),
    "user": ("user", "input_text"),
    "assistant": ("assistant", "output_text"),
}
"""Of a message of the history: what a Realtime item calls the role, and its text."""


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """A session as its client wants it. Immutable: an update makes another one."""

    model: str
    members: Event
    """What is echoed of the client's own members, `model` and permissions included."""
    permissions: Permissions
    delegation: Event

    def updated(self, update: object) -> LiveSettings:
        """With what a `session.update` has. Raises ConfigError for a member that cannot change."""
        members = _object(update, "session")
        fixed = [key for key in members if key in STARTUP and key not in CHANGEABLE]
        if fixed:
            raise ConfigError([f"session.{key} is fixed once a session has begun" for key in fixed])
        read = _read(members, {key: STARTUP[key] for key in CHANGEABLE}, "session")
        wanted = read.pop("delegation", None)
        held = {**self.delegation, **wanted} if isinstance(wanted, Mapping) else self.delegation
        return replace(self, delegation=held, members={**self.members, **read})

    def resource(self) -> dict[str, object]:
        """The members of `SessionResource` that are the client's or follow from what it has said."""
        return {"store": False, **self.members, "delegation": self.delegation}

    def realtime(self) -> dict[str, object]:
        """The session object that the backend gets. Transcripts are asked for, as a GPT-Live session always
        has them; by which model is the backend's choice.
        """
        instructions, output = self.members.get("instructions"), audio_side(self.members, "output")
        return {
            "type": "realtime",
            "model": self.model,
            "audio": {"input": {"transcription": {}}, **({"output": output} if output else {})},
            **({"instructions": instructions} if instructions else {}),
        }

    def history(self) -> list[dict[str, object]]:
        """The messages that the conversation begins with, as Realtime items."""
        found = self.members.get("input")
        return [_item(message) for message in found] if isinstance(found, list) else []


def read_live_settings_untrusted(session: object) -> LiveSettings:
    """What a client wants. Raises ConfigError that names each member at fault, and says of those that are
    well-formed whether it is us who cannot.
    """
    members = _object(session, "session")
    if not is_shallow(members, MAX_DEPTH):
        raise ConfigError([f"session is nested deeper than {MAX_DEPTH}"])
    if len(json.dumps(members)) > MAX_CHARS:
        raise ConfigError([f"session is longer than {MAX_CHARS} characters as a whole"])
    read = _read(members, STARTUP, "session")
    model = read.get("model")
    if not isinstance(model, str):
        raise ConfigError(["session.model is required"])
    delegation = read.pop("delegation", None)
    read.pop("type", None)
    return LiveSettings(
        model,
        read,
        EVERYTHING.updated(read.get(MEMBER)),
        {**CLIENT_DELEGATION, **delegation} if isinstance(delegation, Mapping) else CLIENT_DELEGATION,
    )


Judge = Callable[[object, str], object]
"""Takes what is wanted, and where it stands; returns what will be, None for what is as if it were not there.
Raises ConfigError.
"""


def _read(members: Event, judges: Mapping[str, Judge], path: str) -> dict[str, object]:
    """Every member judged; an unknown one is a fault."""
    read: dict[str, object] = {}
    problems: list[str] = []
    for key, wanted in members.items():
        place = f"{path}.{key}"[:256]
        if key not in judges:
            problems.append(f"{place} is not a member of it")
            continue
        try:
            value = judges[key](wanted, place)
        except ConfigError as error:
            problems += error.problems
        else:
            if value is not None:
                read[key] = value
    if problems:
        raise ConfigError(problems)
    return read


def _object(wanted: object, place: str) -> Event:
    if not isinstance(wanted, Mapping):
        raise ConfigError([f"{place} must be an object"])
    return wanted


def _text(wanted: object, place: str) -> object:
    if not isinstance(wanted, str) or not wanted.strip():
        raise ConfigError([f"{place} must be text"])
    return wanted


def _nullable_text(wanted: object, place: str) -> object:
    """Blank is as if it were not there."""
    if wanted is None or (isinstance(wanted, str) and not wanted.strip()):
        return None
    return _text(wanted, place)


def _kind(wanted: object, place: str) -> object:
    if wanted != KIND:
        raise ConfigError([f"{place} must be {KIND!r}"])
    return wanted


def _voice(wanted: object, place: str) -> object:
    if isinstance(wanted, str) or (isinstance(wanted, Mapping) and isinstance(wanted.get("id"), str)):
        return wanted
    raise ConfigError([f"{place} must be a name, or an object with an id"])


def _format(_: object, place: str) -> object:
    raise ConfigError([f"{place} is for WebSockets; over WebRTC it is negotiated"])


def _inside(judges: Mapping[str, Judge]) -> Judge:
    return lambda wanted, place: _read(_object(wanted, place), judges, place)


def _delegation(wanted: object, place: str) -> object:
    if wanted is None:
        return None
    members = _object(wanted, place)
    if members.get("type") in ("responses", "decisions"):
        raise ConfigError(
            [f"{place}.type {members['type']} is not supported here: there is nobody behind it"]
        )
    if members.get("type") != "client":
        raise ConfigError([f"{place}.type must be one of client | responses | decisions"])
    return _read(members, {"type": lambda value, _: value, "acknowledgement_delay_ms": _delay}, place)


def _delay(wanted: object, place: str) -> object:
    try:
        return integer(0, MAX_DELAY_MS).parse(wanted)
    except ValueError as error:
        raise ConfigError([f"{place} {error}"]) from None


def _client(wanted: object, place: str) -> object:
    """Echoed as it is; `read_live_settings_untrusted` makes permissions of it."""
    if wanted is None:
        return None
    EVERYTHING.updated(wanted)
    return {CHANNEL: _object(wanted, place).get(CHANNEL) or {}}


def _store(wanted: object, place: str) -> object:
    if wanted is True:
        raise ConfigError([f"{place} is not supported here: nothing is recorded"])
    if wanted is not False and wanted is not None:
        raise ConfigError([f"{place} must be true or false"])
    return wanted


def _triggers(wanted: object, place: str) -> object:
    if wanted not in ([], None):
        raise ConfigError([f"{place} is not supported here: there are no decisions to trigger"])
    return wanted


def _input(wanted: object, place: str) -> object:
    if not isinstance(wanted, list) or len(wanted) > MAX_ITEMS:
        raise ConfigError([f"{place} must be a list of at most {MAX_ITEMS} messages"])
    for number, message in enumerate(wanted):
        if not _is_message(message):
            raise ConfigError(
                [f"{place}[{number}] must be a message of {', '.join(ROLES)} with one part of text"]
            )
    return wanted


def _is_message(message: object) -> bool:
    if not isinstance(message, Mapping) or message.get("type", "message") != "message":
        return False
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES or not isinstance(content, list) or len(content) != 1:
        return False
    part = content[0]
    kinds = ("text", "output_text", None) if role == "assistant" else ("input_text", None)
    return isinstance(part, Mapping) and part.get("type") in kinds and isinstance(part.get("text"), str)


def _item(message: Mapping[str, object]) -> dict[str, object]:
    role, kind = ROLES[str(message["role"])]
    parts = message["content"]
    assert isinstance(parts, list)
    return text_item(role, parts[0]["text"], kind)


def text_item(role: str, text: str, kind: str = "input_text") -> dict[str, object]:
    """A Realtime item, without an id."""
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


STARTUP: Final[Mapping[str, Judge]] = {
    "type": _kind,
    "model": _text,
    "instructions": _nullable_text,
    "audio": _inside({"format": _format, "output": _inside({"voice": _voice})}),
    MEMBER: _client,
    "delegation": _delegation,
    "input": _input,
    "safety_identifier": _nullable_text,
    "store": _store,
    "triggers": _triggers,
}
CHANGEABLE: Final = ("delegation", "triggers")
