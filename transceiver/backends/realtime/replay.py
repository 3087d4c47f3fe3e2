"""What a backend that was lost knew of a conversation, as another one can be told it: in words. Sans-IO.

The API takes audio of a user, but nobody here has kept any, and of the assistant it takes text alone. So what
was said is told by its transcript; what has none, such as an answer that was cut off, is left out.
docs/decisions/0451-a-conversation-told-again.md says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from transceiver.realtime.event import Event

MAX_ITEMS: Final = 64
MAX_CHARS: Final = 65_536
"""Of all of them as JSON. The newest count."""
_TEXT_OF_ROLE: Final = {"user": "input_text", "system": "input_text", "assistant": "output_text"}
_CALLS: Final = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
"""What of each the API wants."""


def items_to_retell(items: Iterable[Event]) -> list[Event]:
    """For a `conversation.item.create` each, oldest first. A function's result goes with its call or not at
    all: a backend refuses one of a call that it does not know.
    """
    chosen: list[Event] = []
    chars = 0
    for item in reversed(list(items)):
        told = _told(item)
        if told is None:
            continue
        chars += len(json.dumps(told))
        if len(chosen) == MAX_ITEMS or chars > MAX_CHARS:
            break
        chosen.append(told)
    calls = {item["call_id"] for item in chosen if item["type"] == "function_call"}
    whole = [item for item in chosen if item["type"] != "function_call_output" or item["call_id"] in calls]
    return whole[::-1]


def _told(item: Event) -> Event | None:
    """None for what cannot be told."""
    kind = item.get("type")
    if isinstance(kind, str) and kind in _CALLS:
        members = {key: item.get(key) for key in _CALLS[kind]}
        is_whole = item.get("status") != "in_progress" and all(
            isinstance(each, str) for each in members.values()
        )
        return {"id": item["id"], "type": kind, **members} if is_whole else None
    role, content = item.get("role"), item.get("content")
    if (
        kind != "message"
        or not isinstance(role, str)
        or role not in _TEXT_OF_ROLE
        or not isinstance(content, list)
    ):
        return None
    words = [text for part in content if isinstance(part, Mapping) and (text := _words(part))]
    parts = [{"type": _TEXT_OF_ROLE[role], "text": text} for text in words]
    return {"id": item["id"], "type": kind, "role": role, "content": parts} if parts else None


def _words(part: Event) -> str:
    """Written or said; nothing where that is not known."""
    found = part.get("text") or part.get("transcript")
    return found if isinstance(found, str) else ""
