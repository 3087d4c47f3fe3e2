"""A backend of the transceiver's, `transceiver.backends.base`, as one that this server can serve.

Such a backend lives by a clock of 20 ms and speaks a frame at a time, of which a media track plays one after
the other. Here there is neither: it hears as fast as audio comes, and all that it has to say goes out as
`response.output_audio.delta` as fast as the client takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final

from core.errors import ConfigError
from transceiver.backends.base import Backend, BackendFactory, SessionContext
from transceiver.backends.server.client import AudioPart, Client
from transceiver.backends.server.response import NO_USAGE
from transceiver.media import FRAME_MS, FRAME_NS
from transceiver.observer import EndReason, NullObserver
from transceiver.realtime.event import Event
from transceiver.realtime.settings import SessionSettings, audio_side

logger = logging.getLogger(__name__)

DELTA_FRAMES = 5
"""Frames of one event, where so many are there."""

OF_MEDIA_TRACKS: Final = (
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "output_audio_buffer.cleared",
    "conversation.item.truncated",
)
"""What a backend tells because it knows what was played. Here only the client does."""


class Pace:
    """How fast a backend may speak: at `speed` times real time, or, with None, as it can."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._frames = 1.0
        self._filled_ns: int | None = None

    def may_speak(self, now_ns: int) -> bool:
        """Whether one more frame may be made now."""
        if self._speed is None:
            return True
        if self._filled_ns is not None:
            earned = (now_ns - self._filled_ns) * self._speed / FRAME_NS
            self._frames = min(self._frames + earned, max(DELTA_FRAMES, self._speed))
        self._filled_ns = now_ns
        return self._frames >= 1

    def spoke(self) -> None:
        """A frame was made."""
        if self._speed is not None:
            self._frames -= 1


class DrivenSession:
    """One client's backend. `clock` gives monotonic nanoseconds."""

    def __init__(
        self, factory: BackendFactory, client: Client, clock: Callable[[], int], speed: float | None
    ) -> None:
        self._client = client
        self._clock = clock
        self._pace = Pace(speed)
        self._told: Event = {}
        """The backend's own session object, as it told it last."""
        self._refusal: list[str] | None = None
        """What the backend says against settings, while it is asked."""
        self._part: AudioPart | None = None
        self._frames: list[bytes] = []
        self._metadata: dict[str, object] = {}
        """By response, what its client wants to know it by; "" has that of the next one."""
        self._over = asyncio.Event()
        context = SessionContext(client.session_id, {}, self._emit, NullObserver(), self._end)
        self._backend: Backend = factory.create(context)
        self._backend.opened()
        self._is_new = True

    def configure(self, settings: SessionSettings) -> SessionSettings:
        """First the backend's own, then what the client wants and the backend does not object to."""
        if self._is_new:
            self._is_new = False
        else:
            self._refusal = []
            self._backend.receive_event({"type": "session.update", "session": settings.members})
            refusal, self._refusal = self._refusal, None
            if refusal:
                raise ConfigError(refusal)
        told = audio_side(self._told, "input")
        if "turn_detection" not in told:
            return settings
        return settings.updated({"audio": {"input": {"turn_detection": told["turn_detection"]}}})

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """20 ms."""
        self._backend.hear(pcm, now_ns)
        self._speak(now_ns)

    def receive_event(self, event: Event) -> None:
        """Created items are kept in the conversation, and are no backend's business."""
        if event["type"] == "conversation.item.create":
            return
        if event["type"] == "response.create":
            response = event.get("response")
            self._metadata[""] = response.get("metadata") if isinstance(response, Mapping) else None
        self._backend.receive_event(event)
        self._metadata.pop("", None)
        self._speak(self._clock())

    async def run(self) -> None:
        """What a backend says by itself, and what the client had to read before there could be more."""
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FRAME_MS / 1000):
                    await self._over.wait()
            self._speak(self._clock())

    def close(self) -> None:
        """The backend's end."""
        if not self._over.is_set():
            self._over.set()
            self._backend.close()

    def _end(self, reason: EndReason) -> None:
        """The backend cannot go on."""
        logger.info("session %s: %s", self._client.session_id, reason)
        self.close()

    def _speak(self, now_ns: int) -> None:
        while not self._over.is_set() and not self._client.is_slow() and self._pace.may_speak(now_ns):
            frame = self._backend.speak(now_ns)
            if frame is None:
                break
            self._pace.spoke()
            if self._part is not None:
                self._frames.append(frame)
                if len(self._frames) == DELTA_FRAMES:
                    self._flush()
        self._flush()

    def _flush(self) -> None:
        """Frames of a response that is over are not for the client."""
        frames, self._frames = self._frames, []
        if frames and self._part is not None:
            self._client.speak(self._part, b"".join(frames))

    # The backend's events

    def _emit(self, event: Event) -> None:
        kind = event["type"]
        if kind in ("session.created", "session.updated"):
            session = event.get("session")
            self._told = session if isinstance(session, Mapping) else {}
        elif kind == "error" and self._refusal is not None:
            self._refusal.append(_message(event))
        elif kind not in OF_MEDIA_TRACKS:
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        self._flush()
        kind, response = event["type"], event.get("response")
        if kind == "response.content_part.added":
            self._part = _audio_part(event)
        elif kind == "response.output_audio.done":
            self._part = None
        if isinstance(response, Mapping):
            event = {**event, "response": {**response, **self._more(kind, str(response.get("id")))}}
        self._client.forward(event)

    def _more(self, kind: object, response_id: str) -> dict[str, object]:
        """What a response has besides, of which backends know nothing."""
        if kind == "response.created":
            self._metadata[response_id] = self._metadata.pop("", None)
        if kind != "response.done":
            return {"metadata": self._metadata.get(response_id), "usage": None}
        return {"metadata": self._metadata.pop(response_id, None), "usage": NO_USAGE}


def _audio_part(event: Event) -> AudioPart | None:
    part = event.get("part")
    if not isinstance(part, Mapping) or part.get("type") != "audio":
        return None
    places = [event.get(name) for name in ("response_id", "item_id", "output_index", "content_index")]
    response_id, item_id, output_index, content_index = places
    if not isinstance(output_index, int) or not isinstance(content_index, int):
        return None
    return AudioPart(str(response_id), str(item_id), output_index, content_index)


def _message(event: Event) -> str:
    error = event.get("error")
    return str(error.get("message")) if isinstance(error, Mapping) else "the backend refuses this"


class DrivenBackend:
    """All sessions of one factory, as a `ServedBackend`."""

    def __init__(self, factory: BackendFactory, clock: Callable[[], int], speed: float | None = None) -> None:
        self._factory = factory
        self._clock = clock
        self._speed = speed

    async def start(self) -> None:
        """The factory's."""
        await self._factory.start()

    def create(self, client: Client) -> DrivenSession:
        """One more."""
        return DrivenSession(self._factory, client, self._clock, self._speed)

    async def close(self) -> None:
        """The factory's."""
        await self._factory.close()
