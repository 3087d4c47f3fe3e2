"""The server's half of the protocol for one client: events in, events and calls of the session out. Sans-IO.

What is the same for every backend is done here: settings, audio on its way in, the items of the
conversation, and what to say to events that are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.errors import ConfigError
from transceiver.backends.server.audio import Intake
from transceiver.backends.server.client import Client
from transceiver.backends.server.contract import FOR_SESSIONS, ServedSession
from transceiver.realtime.client_events import decode_event_untrusted
from transceiver.realtime.event import Event
from transceiver.realtime.server_events import shortened, unknown_item_code

MAX_MESSAGE_CHARS = 16 * 1024 * 1024
"""15 MiB, the most that the API lets a client append at once, and what is around it."""
MAX_EVENT_CHARS = 262_144
"""Of any event but that one."""
MAX_ID_CHARS = 64

ITEM_TYPES: Final = ("message", "function_call", "function_call_output")
ROLES: Final = ("user", "assistant", "system")


class Exchange:
    """One client and its session."""

    def __init__(self, client: Client, session: ServedSession) -> None:
        self._client = client
        self._session = session
        self._intake = Intake(client.input_format())

    def open(self) -> None:
        """The first event. Raises ConfigError where the session does not like its own defaults."""
        self._client.settings = self._session.configure(self._client.settings)
        self._client.send("session.created", session=self._wire())

    def hear_next(self, now_ns: int) -> bool:
        """Let the session hear 20 ms of what was appended. False when there is no more."""
        frame = self._intake.take()
        if frame is None:
            return False
        self._session.hear(frame, now_ns)
        return True

    def receive_untrusted(self, text: str, now_ns: int) -> None:
        """A message of the client; all that was appended before it has been heard. Never raises for what it
        says.
        """
        event = decode_event_untrusted(text, MAX_MESSAGE_CHARS)
        is_append = event is not None and event["type"] == "input_audio_buffer.append"
        if event is None or (len(text) > MAX_EVENT_CHARS and not is_append):
            self.refuse_message()
        elif is_append:
            self._append(event)
        else:
            self._receive(event, now_ns)

    def refuse_message(self) -> None:
        """The answer to a message that is no event."""
        self._client.refuse(
            {},
            "invalid_event",
            "Send one JSON object per text message, with a `type` that is text, of at most "
            f"{MAX_EVENT_CHARS} characters; {MAX_MESSAGE_CHARS} to append audio.",
        )

    def _receive(self, event: Event, now_ns: int) -> None:
        match event["type"]:
            case "session.update":
                self._update(event)
            case "conversation.item.create":
                self._create_item(event)
            case "conversation.item.retrieve":
                self._retrieve(event)
            case "conversation.item.delete":
                self._delete(event)
            case "conversation.item.truncate":
                self._truncate(event)
            case "output_audio_buffer.clear":
                self._client.refuse(
                    event,
                    "invalid_event_for_transport",
                    "This is for WebRTC: over a WebSocket it is the client that has the audio buffer.",
                    "type",
                )
            case kind if kind in FOR_SESSIONS:
                self._settle_intake(kind, now_ns)
                self._session.receive_event(event)
            case other:
                self._client.refuse(
                    event, "unknown_event", f"{shortened(other)!r} is no event of a client's.", "type"
                )

    # Settings

    def _update(self, event: Event) -> None:
        before = self._client.input_format()
        try:
            wanted = self._client.settings.updated(event.get("session"))
            self._client.settings = self._session.configure(wanted)
        except ConfigError as error:
            self._client.refuse_settings(event, error)
            return
        if self._client.input_format() != before:
            self._intake = Intake(self._client.input_format())
        self._client.send("session.updated", session=self._wire())

    def _wire(self) -> dict[str, object]:
        return self._client.settings.wire(self._client.session_id)

    # Audio

    def _append(self, event: Event) -> None:
        if not self._intake.append_untrusted(event.get("audio")):
            self._client.refuse(
                event,
                "invalid_value",
                "audio must be base64 of whole samples in the session's format",
                "audio",
            )

    def _settle_intake(self, kind: object, now_ns: int) -> None:
        """What was appended and is less than a frame belongs to what is committed, or is cleared with it."""
        if kind == "input_audio_buffer.commit":
            self._intake.complete()
            while self.hear_next(now_ns):
                pass
        elif kind == "input_audio_buffer.clear":
            self._intake.clear()

    # Items

    def _create_item(self, event: Event) -> None:
        item, previous = event.get("item"), event.get("previous_item_id")
        fault = _item_fault(item)
        if fault is None and isinstance(item, Mapping) and self._is_known(item.get("id")):
            fault = "item.id is that of another item of this conversation"
        if fault is not None or not isinstance(item, Mapping):
            self._client.refuse(event, "invalid_value", fault or "", "item")
        elif previous not in (None, "root") and not self._client.has_place(previous):
            message = f"There is no item {shortened(previous)!r} after which another could be."
            self._client.refuse(event, "item_create_invalid_previous_item_id", message, "previous_item_id")
        else:
            self._add({**item, "id": item.get("id") or self._client.new_id("item")}, previous, event)

    def _add(self, item: Event, previous: object, event: Event) -> None:
        whole = {"object": "realtime.item", "status": "completed", **item}
        self._client.place(str(item["id"]), None if previous is None else str(previous))
        self._client.send("conversation.item.added", item=whole)
        self._client.send("conversation.item.done", item=whole)
        self._session.receive_event({**event, "item": whole})

    def _is_known(self, item_id: object) -> bool:
        return self._client.conversation.find(item_id) is not None or self._client.has_place(item_id)

    def _retrieve(self, event: Event) -> None:
        item = self._found(event)
        if item is not None:
            self._client.send("conversation.item.retrieved", item=item)

    def _delete(self, event: Event) -> None:
        item = self._found(event)
        if item is not None:
            self._client.send("conversation.item.deleted", item_id=item["id"])

    def _truncate(self, event: Event) -> None:
        """What the client has not played is not part of the conversation. Its transcript goes, since nobody
        knows which words were heard.
        """
        item = self._found(event)
        if item is None:
            return
        end_ms, index = event.get("audio_end_ms"), event.get("content_index")
        spoken = self._client.spoken(str(item["id"]))
        if spoken is None or index != spoken.content_index or isinstance(index, bool):
            self._client.refuse(
                event, "invalid_value", "There is no such audio of the assistant's.", "content_index"
            )
        elif isinstance(end_ms, bool) or not isinstance(end_ms, int) or end_ms < 0:
            self._client.refuse(
                event, "invalid_value", "audio_end_ms must be a whole number, not negative", "audio_end_ms"
            )
        elif end_ms > spoken.duration_ms:
            message = f"Audio content of {spoken.duration_ms}ms is already shorter than {end_ms}ms"
            self._client.refuse(event, "invalid_value", message, "audio_end_ms")
        else:
            spoken.truncate(end_ms)
            self._client.send(
                "conversation.item.truncated", item_id=item["id"], content_index=index, audio_end_ms=end_ms
            )

    def _found(self, event: Event) -> Event | None:
        """The item that an event is about; None, and the client knows, where there is none."""
        item = self._client.conversation.find(event.get("item_id"))
        if item is None:
            wanted = shortened(event.get("item_id"))
            message = f"Item with item_id {wanted!r} is not in the conversation."
            self._client.refuse(event, unknown_item_code(event), message, "item_id")
        return item


def _item_fault(item: object) -> str | None:
    """What is wrong with an item that a client creates."""
    if not isinstance(item, Mapping):
        return "item must be an object"
    given = item.get("id")
    if given is not None and (not isinstance(given, str) or not 0 < len(given) <= MAX_ID_CHARS):
        return f"item.id must be text of at most {MAX_ID_CHARS} characters"
    kind, content = item.get("type"), item.get("content")
    if kind not in ITEM_TYPES:
        return f"item.type must be one of {' | '.join(ITEM_TYPES)}"
    if kind != "message":
        return None if isinstance(item.get("call_id"), str) else "item.call_id must be text"
    if item.get("role") not in ROLES:
        return f"item.role must be one of {' | '.join(ROLES)}"
    if not isinstance(content, list) or not all(isinstance(part, Mapping) for part in content):
        return "item.content must be an array of objects"
    return None
