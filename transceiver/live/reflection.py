"""Both voices for who watches a session: PCM of 24 kHz in events, which only sidebands get. Sans-IO."""

from __future__ import annotations

import base64
from typing import Final, Protocol

from transceiver.live.transcripts import TimeLine
from transceiver.media import FRAME_MS
from transceiver.realtime.event import Event

CHUNK_FRAMES: Final = 5
"""Of 20 ms in an event: ten events a second and voice, instead of fifty."""


class Audience(Protocol):
    """Who watches a session."""

    @property
    def wants_audio(self) -> bool:
        """Whether there is anybody who may have it."""

    def reflect(self, event: Event) -> None:
        """Show that to those, and to nobody else."""


class Reflection:
    """Costs nothing while nobody watches."""

    def __init__(self, audience: Audience, line: TimeLine) -> None:
        self._audience = audience
        self._line = line
        self._heard: list[bytes] = []
        self._spoken: list[bytes] = []
        self._spoken_ms = 0
        """Where what is collected begins: never before the end of what was shown."""

    def hear(self, pcm: bytes) -> None:
        """A frame of the caller, as it has come."""
        if not self._audience.wants_audio:
            self._heard.clear()
            return
        self._heard.append(pcm)
        if len(self._heard) == CHUNK_FRAMES:
            self._show_heard()

    def speak(self, pcm: bytes | None) -> None:
        """A frame for the caller, or none: then there is a gap."""
        if not self._audience.wants_audio:
            self._spoken.clear()
            return
        if pcm is not None:
            if not self._spoken:
                self._spoken_ms = max(self._spoken_ms, self._line.now_ms)
            self._spoken.append(pcm)
        if self._spoken and (pcm is None or len(self._spoken) == CHUNK_FRAMES):
            self._show_spoken()

    def close(self) -> None:
        """Show what is left."""
        if self._heard:
            self._show_heard()
        if self._spoken:
            self._show_spoken()

    def _show_heard(self) -> None:
        self._audience.reflect({"type": "session.input_audio.append", "audio": _text(self._heard)})
        self._heard.clear()

    def _show_spoken(self) -> None:
        start_ms, self._spoken_ms = self._spoken_ms, self._spoken_ms + len(self._spoken) * FRAME_MS
        self._audience.reflect(
            {
                "type": "session.output_audio.delta",
                "delta": _text(self._spoken),
                "start_ms": start_ms,
                "end_ms": self._spoken_ms,
            }
        )
        self._spoken.clear()


def _text(frames: list[bytes]) -> str:
    return base64.b64encode(b"".join(frames)).decode()
