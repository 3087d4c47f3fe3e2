"""The types of OpenAI's Python package, which judge every event that we send.

They let members through that they do not know, and we send a few that are ours. So beside the types there is
the rule that nothing else is in an event: a member that is misspelt, or in the wrong place, is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from openai.types.live import ConnectServerEvent
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

EVENTS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
LIVE: TypeAdapter[Any] = TypeAdapter(ConnectServerEvent)
"""Of GPT-Live, where reflected audio has no ids."""
OURS = frozenset({"voxpop"})
"""Members that only we send, wherever they are."""
UNTYPED = frozenset({"session.id", "session.object"})
"""What OpenAI's service sends too; the types of client secrets have it, those of events do not."""


def judged(text: str, events: TypeAdapter[Any] = EVENTS) -> Any:
    """An event as its type; ValidationError or AssertionError where it is none."""
    event = events.validate_json(text, strict=True)
    assert event.type == json.loads(text)["type"]
    assert getattr(event, "event_id", "none")
    unknown = sorted(set(strangers(event)))
    assert not unknown, f"{event.type} has {', '.join(unknown)}: {text}"
    return event


def judge(texts: Iterable[str], events: TypeAdapter[Any] = EVENTS) -> list[Any]:
    """All of them."""
    return [judged(text, events) for text in texts]


def strangers(value: object, path: str = "") -> Iterator[str]:
    """Paths of members that are neither of the type nor ours."""
    if isinstance(value, BaseModel):
        extra = (name for name in value.model_extra or () if name not in OURS)
        yield from (f"{path}{name}" for name in extra if f"{path}{name}" not in UNTYPED)
        for name in type(value).model_fields:
            yield from strangers(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for member in value:
            yield from strangers(member, path)
