"""How a backend words the protocol: the general-availability version, or the beta before it.

Everything in between speaks the former. What differs are names of events, types of content parts, and the
session object; https://platform.openai.com/docs/guides/realtime has the migration's list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from core.errors import BackendError
from transceiver.backends.realtime.formats import AudioFormat
from transceiver.realtime.event import Event
from transceiver.realtime.json_text import decode_object_untrusted
from transceiver.realtime.settings import audio_side

GA_NAMES: Final[Mapping[str, str]] = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "conversation.item.created": "conversation.item.added",
}
"""By the beta's."""
_GA_PARTS: Final = {"text": "output_text", "audio": "output_audio"}
_BETA_PARTS: Final = {ga: beta for beta, ga in _GA_PARTS.items()}


class EventReason(StrEnum):
    """Why a message of a backend's was refused; a metric label."""

    NOT_AN_EVENT = "backend_not_an_event"
    BINARY = "backend_binary_message"


class Dialect(StrEnum):
    """Values are those of `backend.realtime.dialect`."""

    GA = "ga"
    BETA = "beta"


def decode_server_event_untrusted(text: str) -> dict[str, object]:
    """The event in a message, under its GA name: deployments of the GA version still send others. Raises
    BackendError.
    """
    try:
        event = decode_object_untrusted(text)
    except ValueError:
        raise BackendError(EventReason.NOT_AN_EVENT) from None
    kind = event.get("type")
    if not isinstance(kind, str):
        raise BackendError(EventReason.NOT_AN_EVENT)
    if kind in GA_NAMES:
        event["type"] = GA_NAMES[kind]
    item, response = event.get("item"), event.get("response")
    if isinstance(item, Mapping):
        event["item"] = _ga_item(item)
    if isinstance(response, Mapping) and isinstance(response.get("output"), list):
        output = [_ga_item(each) if isinstance(each, Mapping) else each for each in response["output"]]
        event["response"] = {**response, "output": output}
    return event


def encode_client_event(event: Event, dialect: Dialect) -> str:
    """A message of the event, which is in the words of the GA version."""
    if dialect is Dialect.BETA:
        event = _beta_event(event)
    return json.dumps(event, separators=(",", ":"))


def session_update(session: Event, given: AudioFormat, dialect: Dialect) -> Event:
    """`session` of a `session.update`: with the formats that the backend is to use, whatever a client has
    said of its own, and without what is settled by the connection.
    """
    rest = {key: value for key, value in session.items() if key != "model"}
    audio = session.get("audio")
    sides = {side: {**audio_side(session, side), "format": given.wire} for side in ("input", "output")}
    rest["audio"] = {**(audio if isinstance(audio, Mapping) else {}), **sides}
    return rest if dialect is Dialect.GA else _beta_session(rest, given)


def _beta_session(session: Event, given: AudioFormat) -> Event:
    renamed: dict[str, object] = {
        key: value for key, value in session.items() if key not in ("audio", "type", *_BETA_MEMBERS)
    }
    for key, beta in _BETA_MEMBERS.items():
        if key in session:
            renamed[beta] = _beta_modalities(session[key]) if beta == "modalities" else session[key]
    source, sink = audio_side(session, "input"), audio_side(session, "output")
    renamed |= {"input_audio_format": given.beta, "output_audio_format": given.beta}
    for side, key, beta in _BETA_AUDIO:
        members = source if side == "input" else sink
        if key in members:
            renamed[beta] = members[key]
    return renamed


_BETA_MEMBERS: Final = {"output_modalities": "modalities", "max_output_tokens": "max_response_output_tokens"}
_BETA_AUDIO: Final = (
    ("input", "turn_detection", "turn_detection"),
    ("input", "transcription", "input_audio_transcription"),
    ("input", "noise_reduction", "input_audio_noise_reduction"),
    ("output", "voice", "voice"),
    ("output", "speed", "speed"),
)


def _beta_event(event: Event) -> Event:
    item, response = event.get("item"), event.get("response")
    if isinstance(item, Mapping):
        event = {**event, "item": _with_parts(item, _BETA_PARTS)}
    if isinstance(response, Mapping) and "output_modalities" in response:
        rest = {key: value for key, value in response.items() if key != "output_modalities"}
        modalities = _beta_modalities(response["output_modalities"])
        event = {**event, "response": {**rest, "modalities": modalities}}
    return event


def _beta_modalities(modalities: object) -> object:
    """The beta's speech comes with text."""
    return ["text", "audio"] if modalities == ["audio"] else modalities


def _ga_item(item: Event) -> Event:
    """As the GA version has it. What was heard has a `transcript`, null until there is one: stock clients do
    not take an item without.
    """
    content = item.get("content")
    if item.get("role") != "user" or not isinstance(content, list):
        return _with_parts(item, _GA_PARTS)
    return {**item, "content": [_with_transcript(part) for part in content]}


def _with_transcript(part: object) -> object:
    if isinstance(part, Mapping) and part.get("type") == "input_audio":
        return {"transcript": None, **part}
    return part


def _with_parts(item: Event, names: Mapping[str, str]) -> Event:
    """An item of the assistant's with the types of its content parts renamed."""
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, list):
        return item
    parts = [_renamed(part, names) if isinstance(part, Mapping) else part for part in content]
    return {**item, "content": parts}


def _renamed(part: Event, names: Mapping[str, str]) -> Event:
    kind = part.get("type")
    return {**part, "type": names[kind]} if isinstance(kind, str) and kind in names else part
