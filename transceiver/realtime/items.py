"""What a conversation has come to, as far as its events tell: for `conversation.item.retrieve`.

Stock clients ask for an item after each transcript and each truncation, and build their history of the
answers. Not every backend gives one, so the session that passes the events on remembers them. Bounded:
the oldest items go first.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final

from transceiver.realtime.event import Event

MAX_ITEMS = 256
MAX_CHARS = 262_144
"""Of all items as JSON."""
MAX_PARTS = 64
"""Of an item, of which a truncation is remembered."""
MAX_ITEM_CHARS = 65_536
"""A longer one is not remembered: it would not fit into an answer beside its event's other members."""

_SPOKEN: Final = ("output_audio", "audio")
_WITH_ITEM: Final = (
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.retrieved",
    "response.output_item.added",
    "response.output_item.done",
)


class Conversation:
    """The items of one session, by id, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, tuple[Event, int]] = OrderedDict()
        self._truncated: dict[str, set[int]] = {}
        """Parts of items, whose whole transcript may come only now."""
        self._chars = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def chars(self) -> int:
        """Length of all items as JSON; at most `MAX_CHARS`."""
        return self._chars

    @property
    def items(self) -> list[Event]:
        """As they are now, in the order in which they were first heard of."""
        return [item for item, _ in self._items.values()]

    def find(self, item_id: object) -> Event | None:
        """The item as it is now; None where it is not known (any more)."""
        held = self._items.get(item_id) if isinstance(item_id, str) else None
        return None if held is None else held[0]

    def learn_untrusted(self, event: Event) -> None:
        """Take what a server event says of items. Takes anything; never raises."""
        kind, item_id = event.get("type"), event.get("item_id")
        if kind in _WITH_ITEM:
            item = event.get("item")
            if isinstance(item, Mapping) and isinstance(item.get("id"), str):
                self._hold(item["id"], item)
        elif not isinstance(item_id, str):
            return
        elif kind == "conversation.item.deleted":
            self._forget(item_id)
        elif kind == "conversation.item.truncated":
            self.truncate(item_id, event.get("content_index", 0))
        elif kind == "conversation.item.input_audio_transcription.completed":
            self._change_part(item_id, event, ("input_audio",), transcript=event.get("transcript"))
        elif kind == "response.output_audio_transcript.done":
            self._change_part(item_id, event, _SPOKEN, transcript=event.get("transcript"))

    def truncate(self, item_id: str, content_index: object) -> None:
        """A part was not heard to its end. From here on it has no transcript, whatever is still to come: that
        would have words which nobody has heard.
        """
        item = self.find(item_id)
        if item is not None and isinstance(content_index, int) and 0 <= content_index < MAX_PARTS:
            self._truncated.setdefault(item_id, set()).add(content_index)
            self._hold(item_id, item)

    def _change_part(self, item_id: str, event: Event, kinds: tuple[str, ...], **members: object) -> None:
        """Change the content part that an event is about, if it is of one of these kinds."""
        item, index = self.find(item_id), event.get("content_index", 0)
        content = item.get("content") if item is not None else None
        if item is None or not isinstance(content, list) or not isinstance(index, int):
            return
        if not 0 <= index < len(content) or not isinstance(content[index], Mapping):
            return
        part = content[index]
        if part.get("type") in kinds:
            changed = {**part, **members}
            self._hold(item_id, {**item, "content": [*content[:index], changed, *content[index + 1 :]]})

    def _hold(self, item_id: str, item: Event) -> None:
        """The item as it is from now on: without the audio that some servers put into it, and without words
        that were not heard.
        """
        item = _heard(item, self._truncated.get(item_id, ()))
        length = len(json.dumps(item))
        if item_id in self._items:
            self._chars -= self._items[item_id][1]
        if length > MAX_ITEM_CHARS:
            self._items.pop(item_id, None)
            self._truncated.pop(item_id, None)
            return
        self._items[item_id] = (item, length)
        self._chars += length
        while len(self._items) > MAX_ITEMS or self._chars > MAX_CHARS:
            oldest, (_, its_length) = self._items.popitem(last=False)
            self._truncated.pop(oldest, None)
            self._chars -= its_length

    def _forget(self, item_id: str) -> None:
        held = self._items.pop(item_id, None)
        self._truncated.pop(item_id, None)
        if held is not None:
            self._chars -= held[1]

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._truncated.clear()
        self._chars = 0


def _heard(item: Event, truncated: Collection[int]) -> Event:
    content = item.get("content")
    if not isinstance(content, list):
        return item
    return {**item, "content": [_part(part, index in truncated) for index, part in enumerate(content)]}


def _part(part: object, is_truncated: bool) -> object:
    if not isinstance(part, Mapping):
        return part
    absent = {"audio", "transcript"} if is_truncated and part.get("type") in _SPOKEN else {"audio"}
    return {key: value for key, value in part.items() if key not in absent}
