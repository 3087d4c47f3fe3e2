"""The session object of the Realtime API, general-availability version: read, merged and written back whole.

A client's `session` comes with the call, with a secret, and in every `session.update`: by the API's rules
only the members that are present change. What we do not know is kept and echoed, since clients put what
their model wants beside what the API names; `MAX_SESSION_CHARS` bounds all of it together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from core.errors import ConfigError
from core.schema import Kind, boolean, choice, integer, number
from transceiver.realtime.event import Event
from transceiver.realtime.json_text import is_shallow

MAX_SESSION_CHARS = 131_072
"""Of a whole session object as JSON: half of what an event may have, so that it fits into one."""
MAX_DEPTH = 16
"""Of objects and arrays in one another, which are copied and compared by recursion."""

Judge = Callable[[object, object], object]
"""Takes what is wanted and what is in force; returns what will be. Raises ValueError with the rest of a
sentence, as a `Kind` does, and ConfigError where it names members of its own."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """A session's configuration. Immutable: an update makes another one."""

    members: Mapping[str, object]
    asked: Mapping[str, object] = field(default_factory=dict)
    """Those of `members` that a client has set, in the same form: what a backend needs to be told, and what
    it need not be told since it is only our default.
    """

    def updated(self, update: object) -> SessionSettings:
        """With the members of `update`. Raises ConfigError that names the member, such as
        `session.audio.output.speed must be a number, 0.25–1.5`.
        """
        if not isinstance(update, Mapping):
            raise ConfigError(["session must be an object"])
        if not is_shallow(update, MAX_DEPTH):
            raise ConfigError([f"session is nested deeper than {MAX_DEPTH}"])
        merged = _merge(SESSION, _lift_beta(update), self.members, "session")
        if len(json.dumps(merged)) > MAX_SESSION_CHARS:
            raise ConfigError([f"session is longer than {MAX_SESSION_CHARS} characters as a whole"])
        return SessionSettings(merged, select(merged, override(self.asked, _lift_beta(update))))

    def select(self, update: Event) -> dict[str, object]:
        """Of the members those that an update has, as they were read."""
        return select(self.members, _lift_beta(update))

    def wire(self, session_id: str) -> dict[str, object]:
        """The object as the API echoes it."""
        return {"object": "realtime.session", "id": session_id, **self.members}

    @property
    def model(self) -> str | None:
        """What the client calls its model; None where it has named none."""
        model = self.members["model"]
        return model if isinstance(model, str) else None

    @property
    def turn_detection(self) -> Mapping[str, object] | None:
        """`audio.input.turn_detection` with its defaults; None where the client ends turns itself."""
        found = audio_side(self.members, "input")["turn_detection"]
        return found if isinstance(found, Mapping) else None


def audio_side(session: Mapping[str, object], side: str) -> Mapping[str, object]:
    """`audio.input` or `audio.output` of a session object; empty where there is none."""
    audio = session.get("audio")
    found = audio.get(side) if isinstance(audio, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def select(members: Event, wanted: Event) -> dict[str, object]:
    """Of a session object those members that another one has, whatever their values there."""
    chosen: dict[str, object] = {}
    for key, value in members.items():
        if key in wanted:
            inner = wanted[key]
            is_node = key in NODES and isinstance(value, Mapping) and isinstance(inner, Mapping)
            chosen[key] = select(value, inner) if is_node else value  # type: ignore[arg-type]
    return chosen


def override(defaults: Event, wanted: Event) -> dict[str, object]:
    """`defaults` with what `wanted` has, by the API's rule that members which are not there do not change.
    Neither is read: this is for what was asked, not for what is in force.
    """
    merged = dict(defaults)
    for key, value in wanted.items():
        held = merged.get(key)
        is_node = key in NODES and isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[key] = override(held, value) if is_node else value  # type: ignore[arg-type]
    return merged


def _lift_beta(update: Event) -> Event:
    """The beta's `turn_detection` in its later place, where nothing is yet."""
    if "turn_detection" not in update or "turn_detection" in audio_side(update, "input"):
        return update
    rest = {key: value for key, value in update.items() if key != "turn_detection"}
    audio = rest.get("audio")
    if audio is not None and not isinstance(audio, Mapping):
        return update
    source = {**audio_side(update, "input"), "turn_detection": update["turn_detection"]}
    return {**rest, "audio": {**(audio or {}), "input": source}}


def _merge(
    judges: Mapping[str, object], update: Mapping[str, object], current: Mapping[str, object], path: str
) -> dict[str, object]:
    """`current` with what `update` has. Members with judges are judged, others taken as they are."""
    merged = dict(current)
    problems: list[str] = []
    for key, wanted in update.items():
        judge, place = judges.get(key), f"{path}.{key}"
        try:
            merged[key] = _judged(judge, wanted, current.get(key), place)
        except ValueError as error:
            problems.append(f"{place} {error}")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return {key: value for key, value in merged.items() if key not in OURS or path != "session"}


def _judged(judge: object, wanted: object, current: object, place: str) -> object:
    if judge is None:
        return wanted
    if callable(judge):
        return judge(wanted, current)
    assert isinstance(judge, Mapping)
    if not isinstance(wanted, Mapping):
        raise ValueError("must be an object")
    return _merge(judge, wanted, current if isinstance(current, Mapping) else {}, place)


def _one(kind: Kind) -> Judge:
    return lambda wanted, _: kind.parse(wanted)


def _nullable(judge: Judge) -> Judge:
    return lambda wanted, current: None if wanted is None else judge(wanted, current)


def _text(wanted: object, _: object) -> str:
    if not isinstance(wanted, str):
        raise ValueError("must be text")
    return wanted


def _object(wanted: object, _: object) -> Mapping[str, object]:
    if not isinstance(wanted, Mapping):
        raise ValueError("must be an object")
    return wanted


def _word_or_object(*words: str) -> Judge:
    def judge(wanted: object, _: object) -> object:
        if isinstance(wanted, Mapping) or wanted in words:
            return wanted
        raise ValueError(f"must be one of {' | '.join(words)}, or an object")

    return judge


def _modalities(wanted: object, _: object) -> object:
    if wanted not in (["audio"], ["text"]):
        raise ValueError('must be ["audio"] or ["text"]')
    return wanted


def _max_tokens(wanted: object, _: object) -> object:
    try:
        return wanted if wanted == "inf" else integer(1, 4096).parse(wanted)
    except ValueError:
        raise ValueError('must be a whole number, 1–4096, or "inf"') from None


def _objects(wanted: object, _: object) -> object:
    if not isinstance(wanted, list) or not all(isinstance(each, Mapping) for each in wanted):
        raise ValueError("must be an array of objects")
    return wanted


def _texts(wanted: object, _: object) -> object:
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        raise ValueError("must be an array of texts")
    return wanted


def _format(wanted: object, _: object) -> object:
    """Whatever it says, the caller's audio is Opus in the media track; clients that were made for WebSockets
    say it all the same.
    """
    kinds = ("audio/pcm", "audio/pcmu", "audio/pcma")
    if not isinstance(wanted, Mapping) or wanted.get("type") not in kinds:
        raise ValueError(f"must be an object whose type is one of {' | '.join(kinds)}")
    if wanted["type"] != "audio/pcm":
        return {"type": wanted["type"]}
    if wanted.get("rate", 24_000) != 24_000:
        raise ValueError("must have 24000 as rate")
    return {"type": "audio/pcm", "rate": 24_000}


def _noise_reduction(wanted: object, current: object) -> object:
    """Members that an update leaves out stay, as long as it is the same type."""
    if not isinstance(wanted, Mapping) or wanted.get("type") not in ("near_field", "far_field"):
        raise ValueError("must be null, or an object whose type is near_field or far_field")
    kept = current if isinstance(current, Mapping) and current.get("type") == wanted["type"] else {}
    return {**kept, **wanted}


def _voice(wanted: object, _: object) -> object:
    if isinstance(wanted, str) or (isinstance(wanted, Mapping) and isinstance(wanted.get("id"), str)):
        return wanted
    raise ValueError("must be a name, or an object with an id")


def _turn_detection(wanted: object, current: object) -> object:
    """Members that are absent or null keep their value, or the default where the type is another."""
    if not isinstance(wanted, Mapping):
        raise ValueError("must be an object, or null to leave turns to the client")
    kind = wanted.get("type", "server_vad")
    if not isinstance(kind, str) or kind not in TURN_DEFAULTS:
        raise ValueError(f"must have a type that is one of {' | '.join(TURN_DEFAULTS)}")
    given = {key: value for key, value in wanted.items() if value is not None}
    for key, value in given.items():
        if key in TURN_KINDS:
            try:
                TURN_KINDS[key].parse(value)
            except ValueError as error:
                raise ValueError(f"has {key}, which {error}") from None
    kept = current if isinstance(current, Mapping) and current.get("type") == kind else TURN_DEFAULTS[kind]
    return {**kept, "type": kind, **given}


TURN_KINDS: Final[Mapping[str, Kind]] = {
    "threshold": number(0, 1),
    "prefix_padding_ms": integer(0, 2000),
    "silence_duration_ms": integer(20, 10_000),
    "idle_timeout_ms": integer(1000, 60_000),
    "eagerness": choice("low", "medium", "high", "auto"),
    "create_response": boolean(),
    "interrupt_response": boolean(),
}
TURN_DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}
NODES: Final = ("audio", "input", "output")
"""Members that are merged member by member; all others are as a whole."""
OURS: Final = ("object", "id", "expires_at")
"""Members of a session object that a client does not set, though it may send back what it was told."""

SESSION: Final[Mapping[str, object]] = {
    "type": _one(choice("realtime", "transcription")),
    "model": _text,
    "instructions": _text,
    "output_modalities": _modalities,
    "max_output_tokens": _max_tokens,
    "tools": _objects,
    "tool_choice": _word_or_object("auto", "none", "required"),
    "parallel_tool_calls": _one(boolean()),
    "reasoning": _nullable(_object),
    "prompt": _nullable(_object),
    "tracing": _nullable(_word_or_object("auto")),
    "truncation": _word_or_object("auto", "disabled"),
    "include": _nullable(_texts),
    "audio": {
        "input": {
            "format": _format,
            "noise_reduction": _nullable(_noise_reduction),
            "transcription": _nullable(_object),
            "turn_detection": _nullable(_turn_detection),
        },
        "output": {
            "format": _format,
            "voice": _voice,
            "speed": _one(number(0.25, 1.5)),
        },
    },
}

DEFAULTS: Final = SessionSettings(
    {
        "type": "realtime",
        "model": None,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "prompt": None,
        "truncation": "auto",
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "noise_reduction": None,
                "transcription": None,
                "turn_detection": TURN_DEFAULTS["server_vad"],
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy", "speed": 1.0},
        },
    }
)
"""What the API has in force where nobody has said anything."""
