"""The backend of `make bench ONLY=realtime`: a process that speaks by itself.

    python -m tests.bench.talker

Nobody has to be understood for it to answer, so its answers have no phase to the clock of who plays them. Of
three answers the last is long, and is broken into: the backend says that the caller speaks, as one does that
tells turns apart itself. A call is known by its `instructions`. The first line on standard output is the URL.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time

from core.addr import parse_endpoint
from tests.sound import noise
from transceiver.backends.server.client import Client
from transceiver.backends.server.process import Serving, serve
from transceiver.backends.server.response import Response
from transceiver.realtime.event import Event
from transceiver.realtime.settings import SessionSettings

SHORT_S, LONG_S = 0.2, 2.0
DELTA_MS = 100
LEVEL = 5_000
"""Of noise, which takes all of a bit rate, so that its packets are known by their size."""
PAUSE_S = (0.25, 0.45)
"""Between answers: for the last one to be over on the wire, and then any phase of a 20 ms clock."""
HEARD_S = (0.3, 0.5)
"""Of a long answer, before it is broken into."""
MAX_SESSIONS = 64
TIMER_S = 0.001


class Talker:
    """One client's."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_called = asyncio.Event()
        self._random = random.Random(client.session_id)
        self._voice = noise(int(LONG_S * 1000), LEVEL).tobytes()

    def configure(self, settings: SessionSettings) -> SessionSettings:
        """A connection that waits in a pool has no instructions yet."""
        if settings.members.get("instructions"):
            self._is_called.set()
        return settings

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """It does not listen."""

    def receive_event(self, event: Event) -> None:
        """It does as it likes."""

    async def run(self) -> None:
        await self._is_called.wait()
        await asyncio.sleep(0)  # the client is told of its settings first
        while True:
            for answer_s in (SHORT_S, SHORT_S, LONG_S):
                await self._answer(answer_s)
                await _sleep_exactly(self._random.uniform(*PAUSE_S))

    async def _answer(self, answer_s: float) -> None:
        pcm = self._voice[: int(answer_s * 48_000)]
        response = Response(self._client)
        for start in range(0, len(pcm), DELTA_MS * 48):
            response.speak(pcm[start : start + DELTA_MS * 48])
        if answer_s == SHORT_S:
            response.complete()
            await asyncio.sleep(answer_s)
            return
        await asyncio.sleep(self._random.uniform(*HEARD_S))
        item_id = self._client.new_id("item")
        self._client.send("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=0)
        response.cancel("turn_detected")

    def close(self) -> None:
        """Nothing is kept."""


async def _sleep_exactly(seconds: float) -> None:
    """Timers of a loop count whole milliseconds, as the clocks of those do who play what is said: all answers
    would have the same phase to them, be it a good one or a bad one.
    """
    until_ns = time.monotonic_ns() + int(seconds * 1e9)
    await asyncio.sleep(seconds - TIMER_S)
    while time.monotonic_ns() < until_ns:
        pass


class Talkers:
    """The process's."""

    async def start(self) -> None:
        """Nothing is shared."""

    def create(self, client: Client) -> Talker:
        return Talker(client)

    async def close(self) -> None:
        """Nothing is kept."""


def main() -> int:
    """Until SIGINT."""
    here = Serving(parse_endpoint("127.0.0.1:1")._replace(port=0), MAX_SESSIONS, 0, None)
    return asyncio.run(serve(Talkers(), here, lambda url: print(url, flush=True)))


if __name__ == "__main__":
    sys.exit(main())
