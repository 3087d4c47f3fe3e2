"""How a client wants its turns told apart: `turn_detection` of the Realtime API, read and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import ConfigError
from core.schema import boolean, choice, integer, number, read_table, setting
from transceiver.media import FRAME_MS


@dataclass(frozen=True, slots=True)
class ServerVad:
    """`turn_detection` of type `server_vad`: silence ends the turn. Defaults as in the Realtime API."""

    threshold: float = setting(number(0, 1), "how loud and how speech-like a frame must be", default=0.5)
    prefix_padding_ms: int = setting(integer(0, 2000, "ms"), "audio kept from before the speech", default=300)
    silence_duration_ms: int = setting(
        integer(FRAME_MS, 10_000, "ms"), "silence that ends the turn", default=500
    )
    create_response: bool = setting(boolean(), "answer at the end of a turn", default=True)
    interrupt_response: bool = setting(boolean(), "stop speaking when a turn begins", default=True)


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """`turn_detection` of type `semantic_vad`. Without a model that understands the words, eagerness is
    but a silence: see `EAGERNESS_MS`.
    """

    eagerness: str = setting(
        choice("low", "medium", "high", "auto"), "how soon to take a pause for the end", default="auto"
    )
    create_response: bool = setting(boolean(), "answer at the end of a turn", default=True)
    interrupt_response: bool = setting(boolean(), "stop speaking when a turn begins", default=True)

    @property
    def threshold(self) -> float:
        """That of `server_vad`."""
        return 0.5

    @property
    def prefix_padding_ms(self) -> int:
        """That of `server_vad`."""
        return 300

    @property
    def silence_duration_ms(self) -> int:
        """What the eagerness comes to."""
        return EAGERNESS_MS[self.eagerness]


EAGERNESS_MS = {"high": 160, "medium": 400, "auto": 400, "low": 800}

TurnDetection = ServerVad | SemanticVad
"""How turns are told apart; None in its place leaves it to the client, by commit and response.create."""

MAX_MEMBERS = 16
MAX_MEMBER_CHARS = 64
"""Of a `turn_detection`; a fault is found and worded for each member, by similarity to those that exist."""

WIRE_TYPES: dict[str, type[TurnDetection]] = {"server_vad": ServerVad, "semantic_vad": SemanticVad}


def read_turn_detection(session: Mapping[str, object], current: TurnDetection | None) -> TurnDetection | None:
    """The turn detection that a `session` object asks for; `current` where it does not speak of it.

    Both places of the protocol are read: `audio.input.turn_detection`, and `turn_detection` as in its
    beta. Members that are absent or null keep their value. Raises ConfigError.
    """
    path, wanted = _find(session)
    if wanted is ABSENT:
        return current
    if wanted is None:
        return None
    if not isinstance(wanted, Mapping):
        raise ConfigError([f"{path} must be an object, or null to leave turns to the client"])
    kind = wanted.get("type", "server_vad")
    declared = WIRE_TYPES.get(kind) if isinstance(kind, str) else None
    if declared is None:
        raise ConfigError([f"{path}.type must be one of {' | '.join(WIRE_TYPES)}"])
    return _merge(declared, wanted, current, path)


def wire_turn_detection(settings: TurnDetection | None) -> dict[str, object] | None:
    """The protocol's form of `settings`, every member present."""
    if settings is None:
        return None
    kind = next(name for name, declared in WIRE_TYPES.items() if isinstance(settings, declared))
    return {"type": kind, **dataclasses.asdict(settings)}


ABSENT = object()


def _find(session: Mapping[str, object]) -> tuple[str, object]:
    """Where `session` has its turn detection, and what it says; ABSENT when nothing."""
    audio = session.get("audio")
    if audio is not None and not isinstance(audio, Mapping):
        raise ConfigError(["session.audio must be an object"])
    source = audio.get("input") if audio else None
    if source is not None and not isinstance(source, Mapping):
        raise ConfigError(["session.audio.input must be an object"])
    if source and "turn_detection" in source:
        return "session.audio.input.turn_detection", source["turn_detection"]
    return "session.turn_detection", session.get("turn_detection", ABSENT)


def _merge(
    declared: type[TurnDetection], wanted: Mapping[str, object], current: TurnDetection | None, path: str
) -> TurnDetection:
    if len(wanted) > MAX_MEMBERS or any(len(key) > MAX_MEMBER_CHARS for key in wanted):
        raise ConfigError([f"{path} has more members, or longer names, than there are settings for"])
    given = {key: value for key, value in wanted.items() if key != "type" and value is not None}
    kept = dataclasses.asdict(current) if isinstance(current, declared) else {}
    problems: list[str] = []
    read = read_table(declared, kept | given, path, problems)
    if read is None:
        raise ConfigError(problems)
    return read
