"""One response as a session makes it: speech, transcript, text and function calls, as events in their order.

Shapes follow the protocol's general-availability version over WebSockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transceiver.backends.server.client import AudioPart, Client
from transceiver.realtime.event import Event
from transceiver.realtime.server_events import message_item
from transceiver.realtime.settings import audio_side

NO_USAGE: Final[Mapping[str, object]] = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
}


class Response:
    """Made is begun: the client is told of it at once. `request` is the client's `response.create`, if any.

    Whoever has begun one ends it, by `complete` or `cancel`.
    """

    def __init__(self, client: Client, request: Event | None = None) -> None:
        wanted = request.get("response") if request is not None else None
        self._wanted: Event = wanted if isinstance(wanted, Mapping) else {}
        self._client = client
        self.response_id = client.new_id("resp")
        self._output: list[Event] = []
        self._message: Message | None = None
        client.send("response.created", response=self._object("in_progress", None))

    @property
    def is_text(self) -> bool:
        """Whether the client wants to read, not to hear."""
        modalities = self._wanted.get("output_modalities", self._client.settings.members["output_modalities"])
        return modalities == ["text"]

    def speak(self, pcm: bytes) -> None:
        """Speech, of any length, at once."""
        message = self._in_message()
        self._client.speak(AudioPart(self.response_id, message.item_id, message.output_index), pcm)

    def say(self, words: str) -> None:
        """Words of what is spoken, or of the text where the client wants that. Come before their speech."""
        self._in_message().say(words)

    def call(self, name: str, arguments: str) -> str:
        """Ask the client to run a function; the id of the call. `arguments` is a JSON object as text."""
        self._end_message("completed")
        item = {
            "id": self._client.new_id("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "call_id": self._client.new_id("call"),
            "name": name,
            "arguments": "",
        }
        place = {"response_id": self.response_id, "output_index": len(self._output)}
        part = {**place, "item_id": item["id"], "call_id": item["call_id"]}
        self._client.send("response.output_item.added", **place, item=item)
        self._client.send("conversation.item.added", item=item)
        self._client.send("response.function_call_arguments.delta", **part, delta=arguments)
        self._client.send("response.function_call_arguments.done", **part, name=name, arguments=arguments)
        self._done({**item, "status": "completed", "arguments": arguments})
        return str(item["call_id"])

    def complete(self, **measured: object) -> None:
        """All was said. `measured` goes into the `voxpop` of the last event; `stages_ms` of it, which has
        milliseconds by stage and their `total`, into the metrics too.
        """
        self._end_message("completed")
        stages = measured.get("stages_ms")
        for name, took_ms in stages.items() if isinstance(stages, Mapping) else ():
            if name != "total":
                self._client.took(name, took_ms / 1000)
        more = {"voxpop": measured} if measured else {}
        self._client.send("response.done", response=self._object("completed", None), **more)

    def cancel(self, reason: str) -> None:
        """Broken off, as `turn_detected` or `client_cancelled`."""
        self._end_message("incomplete")
        details = {"type": "cancelled", "reason": reason}
        self._client.send("response.done", response=self._object("cancelled", details))

    def fail(self, code: str) -> None:
        """Broken off by a mistake of ours."""
        self._end_message("incomplete")
        details = {"type": "failed", "error": {"type": "server_error", "code": code}}
        self._client.send("response.done", response=self._object("failed", details))

    def _in_message(self) -> Message:
        if self._message is None:
            self._message = Message(self._client, self.response_id, len(self._output), self.is_text)
        return self._message

    def _end_message(self, status: str) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._done(message.end(status))

    def _done(self, item: Event) -> None:
        place = {"response_id": self.response_id, "output_index": len(self._output)}
        self._output.append(item)
        self._client.send("response.output_item.done", **place, item=item)
        self._client.send("conversation.item.done", item=item)

    def _object(self, status: str, details: Event | None) -> Event:
        spoken = audio_side(self._client.settings.members, "output").get("format")
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "status_details": details,
            "output": list(self._output),
            "output_modalities": ["text"] if self.is_text else ["audio"],
            "audio": {"output": {"format": spoken}},
            "metadata": self._wanted.get("metadata"),
            "usage": None if status == "in_progress" else NO_USAGE,
        }


class Message:
    """An item of a response that is spoken, or written."""

    def __init__(self, client: Client, response_id: str, output_index: int, is_text: bool) -> None:
        self.item_id = client.new_id("item")
        self.output_index = output_index
        self._client = client
        self._is_text = is_text
        self._words = ""
        place: Event = {"response_id": response_id, "output_index": output_index}
        self._part = {**place, "item_id": self.item_id, "content_index": 0}
        item = message_item(self.item_id, "assistant", "in_progress", [])
        client.send("response.output_item.added", **place, item=item)
        client.send("conversation.item.added", item=item)
        client.send("response.content_part.added", **self._part, part=self._content(("text", "audio")))

    def say(self, words: str) -> None:
        """More of its words."""
        self._words += words
        kind = "response.output_text.delta" if self._is_text else "response.output_audio_transcript.delta"
        self._client.send(kind, **self._part, delta=words)

    def end(self, status: str) -> Event:
        """The item as it is in the end."""
        send, part = self._client.send, self._part
        if self._is_text:
            send("response.output_text.done", **part, text=self._words)
        else:
            send("response.output_audio.done", **part)
            send("response.output_audio_transcript.done", **part, transcript=self._words)
        send("response.content_part.done", **part, part=self._content(("text", "audio")))
        content = [self._content(("output_text", "output_audio"))]
        return message_item(self.item_id, "assistant", status, content)

    def _content(self, kinds: tuple[str, str]) -> dict[str, str]:
        """As a part of a response or of an item, which have other names for it."""
        if self._is_text:
            return {"type": kinds[0], "text": self._words}
        return {"type": kinds[1], "transcript": self._words}
