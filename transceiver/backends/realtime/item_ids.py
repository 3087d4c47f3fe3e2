"""One item, two names. Sans-IO.

Where turns are ours, `input_audio_buffer.speech_started` names the item that the turn will be before the
backend has heard of it, and the backend names it anew when it is committed. The client sees ours in all
events and asks by it; the backend sees its own. docs/decisions/0452-one-id-for-one-item.md says why.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from transceiver.realtime.event import Event

MAX_IDS: Final = 512
"""That are told apart; the oldest is forgotten first. More items than a conversation remembers."""
MAX_ID_CHARS: Final = 256
"""Of an id of the backend's, which may be as long as a message; an item with a longer one keeps it."""
MAX_COMMITS: Final = 8
"""That the backend has still to answer."""
COMMIT_GRACE_NS: Final = 15_000_000_000
"""Within which it does; a later answer is to another commit."""
_PLACES: Final = ("item_id", "previous_item_id")
_OF_NEW_ITEMS: Final = ("conversation.item.added", "conversation.item.done")


class Commit(NamedTuple):
    """One that the backend has not answered."""

    event_id: str
    item_id: str | None
    """What the client was told that the item is; None where it was told nothing."""
    at_ns: int


class ItemIds:
    """Of one call."""

    def __init__(self) -> None:
        self._ours: OrderedDict[str, str] = OrderedDict()
        """By the backend's."""
        self._theirs: dict[str, str] = {}
        self._commits: deque[Commit] = deque(maxlen=MAX_COMMITS)
        self._retold: deque[Event] = deque()
        """Items that another backend was told of and has not acknowledged."""
        self._known: set[str] = set()
        """Those that it has acknowledged, by its own ids."""

    # What is sent

    def commit(self, event_id: str, item_id: str | None, now_ns: int) -> None:
        """What was heard is committed, under this id of an event."""
        self._commits.append(Commit(event_id, item_id, now_ns))

    def refused(self, event_id: str) -> None:
        """The backend does not do what was sent under that id, if that was a commit."""
        self._commits = deque((each for each in self._commits if each.event_id != event_id), MAX_COMMITS)

    @property
    def oldest_commit(self) -> str:
        """The id of the event that waits longest for an answer; empty where none does."""
        return self._commits[0].event_id if self._commits else ""

    def retell(self, items: list[Event]) -> None:
        """Another backend is told of items that the client knows."""
        self._retold.extend(items)

    def to_backend(self, event: Event) -> Event:
        """A client's event, in the backend's ids."""
        if not self._theirs:
            return event
        changed = _renamed(event, self._theirs)
        response = event.get("response")
        given = response.get("input") if isinstance(response, Mapping) else None
        if not isinstance(response, Mapping) or not isinstance(given, list):
            return changed
        items = [_named(each, self._theirs) if isinstance(each, Mapping) else each for each in given]
        return {**changed, "response": {**response, "input": items}}

    # What comes

    def from_backend_untrusted(self, event: Event, now_ns: int) -> Event | None:
        """A backend's event, in the client's ids; None where it only acknowledges what the client knows.
        Takes anything; never raises.
        """
        kind, item = event.get("type"), event.get("item")
        if kind == "input_audio_buffer.committed":
            self._committed(event.get("item_id"), now_ns)
        elif kind in _OF_NEW_ITEMS and isinstance(item, Mapping) and self._is_known(item):
            return None
        return _renamed(event, self._ours) if self._ours else event

    def refused_retold(self) -> bool:
        """The backend did not take the oldest of what it was told. False where there is none."""
        if self._retold:
            self._retold.popleft()
            return True
        return False

    def lost(self) -> None:
        """That backend is gone, with its ids."""
        self._ours.clear()
        self._theirs.clear()
        self._commits.clear()
        self._retold.clear()
        self._known.clear()

    def _committed(self, theirs: object, now_ns: int) -> None:
        if not isinstance(theirs, str) or theirs in self._ours:
            return
        while self._commits:
            commit = self._commits.popleft()
            if now_ns - commit.at_ns <= COMMIT_GRACE_NS:
                if commit.item_id is not None:
                    self._bind(theirs, commit.item_id)
                return

    def _is_known(self, item: Event) -> bool:
        """Whether it is the next of those that were told, under its id or another: not every backend takes
        ours.
        """
        theirs = item.get("id")
        if not isinstance(theirs, str):
            return False
        if theirs in self._known:
            return True
        if not self._retold:
            return False
        told = self._retold[0]
        if theirs != told["id"] and any(item.get(key) != told.get(key) for key in ("type", "role")):
            return False
        self._retold.popleft()
        if len(theirs) <= MAX_ID_CHARS:
            self._known.add(theirs)
        if theirs != told["id"]:
            self._bind(theirs, str(told["id"]))
        return True

    def _bind(self, theirs: str, ours: str) -> None:
        if len(theirs) > MAX_ID_CHARS:
            return
        self._ours[theirs] = ours
        self._theirs[ours] = theirs
        if len(self._ours) > MAX_IDS:
            _, forgotten = self._ours.popitem(last=False)
            self._theirs.pop(forgotten, None)


def _renamed(event: Event, names: Mapping[str, str]) -> Event:
    changed: dict[str, object] = {}
    for place in _PLACES:
        item_id = event.get(place)
        if isinstance(item_id, str) and item_id in names:
            changed[place] = names[item_id]
    item = event.get("item")
    if isinstance(item, Mapping):
        changed["item"] = _named(item, names)
    return {**event, **changed} if changed else event


def _named(item: Event, names: Mapping[str, str]) -> Event:
    item_id = item.get("id")
    return {**item, "id": names[item_id]} if isinstance(item_id, str) and item_id in names else item
