"""Server events of the OpenAI Realtime protocol, as a backend that speaks audio writes them.

Shapes follow the protocol's general-availability version over WebRTC: audio travels in the media track,
so there is no `response.output_audio.delta`, and `output_audio_buffer.*` tells what the caller can hear.
Members that Voxpop adds are in an object named `voxpop`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from core.errors import ConfigError
from transceiver.media import SAMPLE_RATE
from transceiver.realtime.event import EmitEvent, Event

MAX_ECHOED = 256
"""Characters of a client's own text that an error repeats to it."""

AUDIO_FORMAT = {"type": "audio/pcm", "rate": SAMPLE_RATE}


class EventChannel:
    """Numbers and sends the events of one session. Nothing leaves before `open`."""

    def __init__(self, session_id: str, emit: EmitEvent) -> None:
        self.session_id = session_id
        self._suffix = session_id.partition("_")[2]
        self._emit = emit
        self._counts = count(1)
        self.is_open = False

    def new_id(self, prefix: str) -> str:
        """An id that no other object of this session has, nor of another session."""
        return f"{prefix}_{self._suffix}_{next(self._counts)}"

    def send(self, kind: str, /, **members: object) -> None:
        """One event, with an id of its own."""
        if self.is_open:
            self._emit({"type": kind, "event_id": self.new_id("event"), **members})

    def refuse(self, cause: Event, code: str, message: str, param: str | None = None) -> None:
        """An `error` that names the client's event by the id that it gave, if any."""
        self.send(
            "error",
            error={
                "type": "invalid_request_error",
                "code": code,
                "message": message[: 2 * MAX_ECHOED],
                "param": param,
                "event_id": shortened(cause.get("event_id")),
            },
        )

    def refuse_settings(self, cause: Event, error: ConfigError) -> None:
        """An `error` for a `session.update` that cannot be followed; `param` is the first member at fault."""
        param = error.problems[0].split(maxsplit=1)[0]
        self.refuse(cause, "invalid_value", "; ".join(error.problems), shortened(param))


class ResponseEvents:
    """The life of one spoken response, in the order that clients expect."""

    def __init__(self, channel: EventChannel) -> None:
        self._channel = channel
        self.response_id = channel.new_id("resp")
        self.item_id = channel.new_id("item")
        self._place = {"response_id": self.response_id, "output_index": 0}
        self._part = {**self._place, "item_id": self.item_id, "content_index": 0}

    def created(self, previous_item_id: str | None) -> None:
        """The response exists and has one message with one audio part."""
        item = self._item("in_progress")
        self._channel.send("response.created", response=self._response("in_progress", [], None))
        self._channel.send("response.output_item.added", **self._place, item=item)
        self._channel.send("conversation.item.added", previous_item_id=previous_item_id, item=item)
        self._channel.send("response.content_part.added", **self._part, part={"type": "audio"})

    def started(self, measured: Mapping[str, object]) -> None:
        """The caller hears the first frame."""
        self._channel.send("output_audio_buffer.started", response_id=self.response_id, voxpop=measured)

    def completed(self, was_heard: bool) -> None:
        """Everything was said, which may have been nothing."""
        self._finish("completed", None)
        if was_heard:
            self._channel.send("output_audio_buffer.stopped", response_id=self.response_id)

    def cancelled(self, reason: str, played_ms: int) -> None:
        """Broken off, as `turn_detected` or `client_cancelled`; `played_ms` of it reached the caller."""
        self._finish("cancelled", {"type": "cancelled", "reason": reason})
        self._channel.send(
            "conversation.item.truncated", item_id=self.item_id, content_index=0, audio_end_ms=played_ms
        )
        self._channel.send("output_audio_buffer.cleared", response_id=self.response_id)

    def _finish(self, status: str, details: Mapping[str, object] | None) -> None:
        item = self._item("completed" if status == "completed" else "incomplete")
        self._channel.send("response.output_audio.done", **self._part)
        self._channel.send("response.content_part.done", **self._part, part={"type": "audio"})
        self._channel.send("response.output_item.done", **self._place, item=item)
        self._channel.send("conversation.item.done", item=item)
        self._channel.send("response.done", response=self._response(status, [item], details))

    def _item(self, status: str) -> dict[str, object]:
        content = [] if status == "in_progress" else [{"type": "output_audio"}]
        return message_item(self.item_id, "assistant", status, content)

    def _response(
        self, status: str, output: list[dict[str, object]], details: Mapping[str, object] | None
    ) -> dict[str, object]:
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "status_details": details,
            "output": output,
            "output_modalities": ["audio"],
            "audio": {"output": {"format": AUDIO_FORMAT}},
        }


def message_item(
    item_id: str, role: str, status: str, content: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """A message of the conversation. What was heard has a `transcript`, null until there is one: OpenAI's
    Agents SDK leaves an item without it out of its history.
    """
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": status,
        "content": content,
    }


def shortened(value: object) -> str | None:
    """A client's text, short enough to repeat; None for what is no text."""
    return value[:MAX_ECHOED] if isinstance(value, str) else None


def unknown_item_code(cause: Event) -> str:
    """What the API calls a `conversation.item.…` of an item that is not there. Stock clients know these
    codes, and some take any other error for the end of the session.
    """
    return f"item_{str(cause['type']).rpartition('.')[2]}_invalid_item_id"
