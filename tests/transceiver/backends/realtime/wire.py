"""Both ends of a bridge: what it says to either, and what they say to it, on a clock of its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np

from tests.sound import Samples, frames
from transceiver.backends.realtime.bridge import Bridge
from transceiver.backends.realtime.dialect import Dialect
from transceiver.backends.realtime.formats import FORMATS
from transceiver.backends.realtime.terms import BridgePlan
from transceiver.media import FRAME_BYTES, FRAME_MS, FRAME_NS, SAMPLE_RATE
from transceiver.observer import NullObserver
from transceiver.realtime.event import Event
from transceiver.realtime.settings import DEFAULTS
from transceiver.turns.budget import NO_WAY, Budgets, Way

SILENT = bytes(FRAME_BYTES)


class TurnObserver(NullObserver):
    def __init__(self) -> None:
        self.turns: list[float] = []

    def turn(self, seconds: float) -> None:
        self.turns.append(seconds)


class Wire:
    """A bridge between two lists. `session` is what the call asks for."""

    def __init__(
        self,
        session: Mapping[str, object] | None = None,
        *,
        turns: str = "ours",
        audio: str = "pcm_24000",
        dialect: Dialect = Dialect.GA,
        limit_ms: int = 60_000,
        is_opened: bool = True,
        way: Way | None = None,
    ) -> None:
        plan = BridgePlan(FORMATS[audio], dialect, turns == "backend", limit_ms, has_tone=True)
        self.client: list[Event] = []
        self.backend: list[Event] = []
        self.spoken: list[bytes | None] = []
        self.late_ns = 0
        self.observer = TurnObserver()
        self.way = NO_WAY if way is None else way
        self.bridge = Bridge(
            plan,
            "rtc_test",
            DEFAULTS.updated(session or {}),
            Budgets(self.observer, self.way),
            self.client.append,
            self.backend.append,
        )
        self.bridge.connected()
        if is_opened:
            self.bridge.opened()
            self.say("session.created", session={})
            self.say("session.updated", session={})
            self.forget()

    def forget(self) -> None:
        """What was said until now."""
        self.client.clear()
        self.backend.clear()

    # What the ends say

    def say(self, kind: str, **members: object) -> None:
        """An event of the backend's, `late_ns` after the last tick."""
        event = {"type": kind, "event_id": "event_b", **members}
        self.bridge.receive_server_event_untrusted(event, len(self.spoken) * FRAME_NS + self.late_ns)

    def ask(self, kind: str, **members: object) -> None:
        """An event of the client's."""
        self.bridge.receive_event({"type": kind, **members})

    def respond(self, number: int = 1, **members: object) -> None:
        """The backend begins a response."""
        self.say("response.created", response={"id": f"resp_{number}", **members})

    def delta(self, audio_ms: int = 200, number: int = 1, level: int = 8000, item: str = "") -> None:
        """The backend speaks."""
        pcm = np.full(SAMPLE_RATE * audio_ms // 1000, level).astype("<i2").tobytes()
        where = {"response_id": f"resp_{number}", "item_id": item or f"item_{number}", "content_index": 0}
        self.say("response.output_audio.delta", delta=base64.b64encode(pcm).decode(), **where)

    def done(self, number: int = 1, status: str = "completed") -> None:
        """The backend is through with a response."""
        self.say("response.done", response={"id": f"resp_{number}", "status": status})

    # The clock

    def tick(self, pcm: bytes = SILENT) -> bytes | None:
        now_ns = (len(self.spoken) + 1) * FRAME_NS
        self.bridge.hear(pcm, now_ns)
        self.spoken.append(self.bridge.speak(now_ns))
        return self.spoken[-1]

    def wait(self, duration_ms: int) -> None:
        for _ in range(duration_ms // FRAME_MS):
            self.tick()

    def speak(self, samples: Samples) -> None:
        for frame in frames(samples):
            self.tick(frame)

    # What was said

    def kinds(self) -> list[object]:
        """To the client."""
        return [event["type"] for event in self.client]

    def sent(self) -> list[object]:
        """To the backend, without the caller's audio."""
        return [event["type"] for event in self.backend if event["type"] != "input_audio_buffer.append"]

    def told(self, kind: str) -> Event:
        """The last of its kind to the client."""
        return next(event for event in reversed(self.client) if event["type"] == kind)

    def asked(self, kind: str) -> Event:
        """The last of its kind to the backend."""
        return next(event for event in reversed(self.backend) if event["type"] == kind)

    def error(self) -> Mapping[str, object]:
        """The last one that the client was told of."""
        error = self.told("error")["error"]
        assert isinstance(error, Mapping)
        return error

    def heard(self) -> bytes:
        """All audio that the backend got, of PCM."""
        audio = [
            str(event["audio"]) for event in self.backend if event["type"] == "input_audio_buffer.append"
        ]
        return b"".join(map(base64.b64decode, audio))

    def is_silent(self, frames_back: int = 1) -> bool:
        return all(frame is None or not any(frame) for frame in self.spoken[-frames_back:])
