"""Backends that live by a clock, served where there is none."""

from __future__ import annotations

import asyncio
import json

import pytest

from core.errors import ConfigError
from transceiver.backends.base import Backend, SessionContext
from transceiver.backends.server.client import Client
from transceiver.backends.server.driven import DrivenBackend, Pace
from transceiver.media import FRAME_BYTES, FRAME_NS
from transceiver.observer import EndReason
from transceiver.realtime.event import Event
from transceiver.realtime.server_events import EventChannel, ResponseEvents


class Slow:
    """Answers what it heard three ticks later, by itself, and refuses every setting named `bad`."""

    def __init__(self, context: SessionContext) -> None:
        self._channel = EventChannel(context.session_id, context.emit)
        self._end = context.end
        self._events: ResponseEvents | None = None
        self._ticks = 0
        self._frame: bytes | None = b""

    def opened(self) -> None:
        self._channel.is_open = True
        self._channel.send("session.created", session={"type": "realtime", "model": "slow"})

    def hear(self, pcm: bytes, now_ns: int) -> None:
        self._frame, self._ticks = pcm, 0

    def speak(self, now_ns: int) -> bytes | None:
        self._ticks += 1
        if self._ticks == 3 and self._frame:
            self._events = ResponseEvents(self._channel)
            self._events.created(None)
            self._events.started({})
            return self._frame
        if self._events is not None:
            self._events.completed(was_heard=True)
            self._events = None
        return None

    def receive_event(self, event: Event) -> None:
        if event["type"] == "response.cancel":
            self._end(EndReason.BACKEND_GONE)
        session = event.get("session")
        if isinstance(session, dict) and "bad" in session:
            self._channel.refuse(event, "invalid_value", "session.bad is not liked")

    def close(self) -> None:
        assert self._frame is not None, "closed twice"
        self._frame = None


class Slows:
    async def start(self) -> None: ...

    def create(self, context: SessionContext) -> Backend:
        return Slow(context)

    async def close(self) -> None: ...


def test_a_backend_that_answers_later_is_heard_without_more_audio() -> None:
    async def scenario() -> None:
        events: list[Event] = []
        spoken = asyncio.Event()

        def receive(event: Event) -> None:
            events.append(json.loads(json.dumps(event)))
            if event["type"] == "response.done":
                spoken.set()

        client = Client("sess_test", "m", receive, lambda: False)
        session = DrivenBackend(Slows(), lambda: 0).create(client)
        session.hear(bytes(FRAME_BYTES), 0)
        running = asyncio.create_task(session.run())
        async with asyncio.timeout(30):
            await spoken.wait()
        running.cancel()
        kinds = [event["type"] for event in events]
        assert "response.output_audio.delta" in kinds
        assert not any(str(kind).startswith(("output_audio_buffer", "session")) for kind in kinds)

    asyncio.run(scenario())


def test_a_backend_that_does_not_speak_of_turns_leaves_them_as_the_client_wants() -> None:
    client = Client("sess_test", "m", lambda event: None, lambda: False)
    session = DrivenBackend(Slows(), lambda: 0).create(client)
    assert session.configure(client.settings) == client.settings
    wanted = client.settings.updated({"instructions": "be slow"})
    assert session.configure(wanted) == wanted
    with pytest.raises(ConfigError, match=r"session\.bad is not liked"):
        session.configure(client.settings.updated({"bad": 1}))


def test_a_backend_that_cannot_go_on_hangs_up() -> None:
    async def scenario() -> None:
        client = Client("sess_test", "m", lambda event: None, lambda: False)
        session = DrivenBackend(Slows(), lambda: 0).create(client)
        session.receive_event({"type": "response.cancel"})
        async with asyncio.timeout(30):
            await session.run()
        session.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_a_pace_is_kept_over_any_second(speed: float) -> None:
    pace, spoken, now_ns = Pace(speed), 0, 10**15
    for _ in range(100):
        while pace.may_speak(now_ns):
            pace.spoke()
            spoken += 1
        now_ns += FRAME_NS // 2
    assert spoken == pytest.approx(50 * speed, abs=max(1, speed / 2) + 1)


def test_without_a_pace_there_is_no_end() -> None:
    assert all(Pace(None).may_speak(0) for _ in range(1000))
