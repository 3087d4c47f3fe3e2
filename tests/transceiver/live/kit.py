"""A GPT-Live session without a network: what its client sends, what its backend says, what both are told."""

from __future__ import annotations

from typing import Any

from transceiver.live.bridge import LiveBridge, LiveContext
from transceiver.live.settings import read_live_settings_untrusted
from transceiver.media import FRAME_BYTES, FRAME_NS
from transceiver.observer import EndReason
from transceiver.realtime.event import Event

SESSION_ID = "live_0-x"
EXPIRES_S = 1_900_000_000
BEGAN_NS = 7_000_000_000
"""No time line begins with the machine."""
SPEECH = b"\x01\x02" * (FRAME_BYTES // 2)


class Backend:
    """Says what a test tells it to."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.heard: list[bytes] = []
        self.says: bytes | None = None
        self.opened_times = 0
        self.is_closed = False

    def opened(self) -> None:
        self.opened_times += 1

    def hear(self, pcm: bytes, now_ns: int) -> None:
        self.heard.append(pcm)

    def speak(self, now_ns: int) -> bytes | None:
        return self.says

    def receive_event(self, event: Event) -> None:
        self.asked.append(event)

    def close(self) -> None:
        self.is_closed = True


class Audience:
    def __init__(self) -> None:
        self.wants_audio = False
        self.got: list[Any] = []

    def reflect(self, event: Event) -> None:
        self.got.append(event)


class Scene:
    """`told` is what channel and sidebands got, `noticed` what the channel alone did."""

    def __init__(self, **session: object) -> None:
        self.told: list[Any] = []
        self.noticed: list[Any] = []
        self.ends: list[EndReason] = []
        self.audience = Audience()
        self.backend = Backend()
        settings = read_live_settings_untrusted({"model": "gpt-live-1", **session})
        self.live = LiveBridge(
            LiveContext(
                SESSION_ID,
                settings,
                EXPIRES_S,
                self.told.append,
                self.noticed.append,
                self.audience,
                self.ends.append,
            )
        )
        self.live.backend = self.backend
        self.now_ns = BEGAN_NS

    def start(self, **session: object) -> Scene:
        """The backend has said its first word, and the client was told."""
        self.live.opened()
        self.say("session.created", session=session)
        self.told.clear()
        return self

    def say(self, kind: str, **members: object) -> None:
        """An event of the backend."""
        self.live.receive_server_event_untrusted({"type": kind, "event_id": "theirs", **members})

    def send(self, kind: str, event_id: str | None = "mine", **members: object) -> None:
        """An event of the client."""
        named = {} if event_id is None else {"event_id": event_id}
        self.live.receive_event({"type": kind, **named, **members})

    def tick(self, frames: int = 1, pcm: bytes | None = SPEECH) -> None:
        """20 ms after another; without `pcm`, nothing has come of the caller yet."""
        for _ in range(frames):
            if pcm is not None:
                self.live.hear(pcm, self.now_ns)
            self.live.speak(self.now_ns)
            self.now_ns += FRAME_NS

    def only(self) -> Any:
        """What was told, which is one event."""
        (event,) = self.told
        self.told.clear()
        return event
