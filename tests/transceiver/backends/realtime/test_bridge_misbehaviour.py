"""Backends that misbehave and stay connected: the call survives, within bounds, and the log says what and
who. Those that lose their connection by it are in test_connection.py and test_link.py.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.transceiver.backends.realtime.calls import calling
from tests.transceiver.backends.realtime.server import TONE, Line, run, serving
from tests.transceiver.backends.realtime.wire import Wire
from transceiver.backends.realtime.answers import BEGIN_GRACE_NS, LATE_NS, MAX_REQUESTS
from transceiver.media import FRAME_MS, FRAME_NS, SAMPLE_RATE

WHO = "session rtc_test: "
BUFFER_S = 2


async def _goes_on(line: Line) -> None:
    """Is a good backend from now on."""
    while (event := await line.next()) is not None:
        if event["type"] == "response.create":
            await line.respond(TONE[: 48 * 200], response_id="resp_good")


def test_one_that_says_a_minute_at_once_is_cut_to_what_may_wait(caplog: pytest.LogCaptureFixture) -> None:
    async def floods(line: Line) -> None:
        await line.greet()
        await line.say("response.created", response={"id": "resp_1"})
        for _ in range(60):
            await line.speak(TONE, delta_ms=1000)
        await line.until("response.cancel")
        await line.say("response.done", response={"id": "resp_1", "status": "cancelled"})
        await _goes_on(line)

    async def scenario() -> None:
        async with serving(floods) as server, calling(server.url, buffer_s=BUFFER_S) as calls:
            call = calls.call()
            await call.told("output_audio_buffer.stopped")
            playout = call.backend.bridge.answers.playout
            received_s, played_s = playout.counts.received / SAMPLE_RATE, playout.counts.played / SAMPLE_RATE
            assert received_s < 60, "what is cut off is not decoded"
            assert BUFFER_S <= played_s < BUFFER_S + 2
            truncated: Any = await call.told("conversation.item.truncated")
            assert truncated["audio_end_ms"] == playout.counts.played * 1000 // SAMPLE_RATE
            call.send("response.create")
            await call.told("output_audio_buffer.stopped", times=2)
        assert caplog.text.count(WHO + "the backend has said more than may wait") == 1

    run(scenario())


def test_one_that_is_slower_than_real_time_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    wire.respond()
    for _ in range(4):
        wire.delta(60)
        wire.wait(400)
    wire.done()
    wire.wait(100)
    assert wire.kinds()[-1] == "output_audio_buffer.stopped"
    counts = wire.bridge.answers.playout.counts
    assert (counts.received, counts.dropped) == (counts.played, 0)
    assert caplog.text.count(f"{WHO}the backend was slower than real time; what it said ran dry 4 times") == 1


def test_one_that_goes_on_after_a_cancel_is_not_heard_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire()
    wire.respond()
    wire.delta(1000)
    wire.wait(100)
    wire.ask("response.cancel")
    wire.delta(1000)
    wire.wait(2 * FRAME_MS)
    assert caplog.text == "", "what was under way is nobody's fault"
    for _ in range(3):
        wire.wait(LATE_NS // FRAME_NS * FRAME_MS)
        wire.delta(1000)
    wire.wait(100)
    assert wire.is_silent(5)
    assert wire.bridge.answers.playout.waiting == 0
    assert caplog.text.count(WHO + "the backend goes on with a response that is over") == 1
    assert WHO + "the backend has not ended a response that was cancelled" in caplog.text


def test_one_that_never_answers_is_waited_for_so_long_and_named(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    for number in range(MAX_REQUESTS + 5):
        wire.ask("response.create", event_id=f"c{number}")
    refused = [event["error"]["event_id"] for event in wire.client]  # type: ignore[index]
    assert refused == [f"c{number}" for number in range(MAX_REQUESTS + 1, MAX_REQUESTS + 5)]
    wire.wait((BEGIN_GRACE_NS // FRAME_NS + 2) * FRAME_MS)
    assert (wire.error()["code"], wire.error()["event_id"]) == ("response_not_created", "c0")
    assert WHO + "the backend has not begun a response that it was asked for" in caplog.text


def test_one_of_another_rate_than_it_was_asked_for_is_heard_right_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire(is_opened=False)
    wire.bridge.opened()
    wire.say("session.created", session={})
    slower = {"format": {"type": "audio/pcm", "rate": 16_000}}
    wire.say("session.updated", session={"audio": {"input": slower, "output": slower}})
    wire.respond()
    wire.delta(300)  # at 24 kHz, which is half as long again at 16
    wire.done()
    wire.wait(600)
    assert wire.bridge.answers.playout.counts.played == pytest.approx(SAMPLE_RATE * 0.45, abs=2)
    for end in ("gives", "takes"):
        assert f"{WHO}the backend {end} audio/pcm 16000 Hz" in caplog.text


def test_a_thousand_events_that_nobody_knows_are_passed_on_and_kept_nowhere() -> None:
    async def chatters(line: Line) -> None:
        await line.greet()
        for number in range(1000):
            await line.say(f"x.{number}", item={"id": f"i{number}", "text": "x" * 500})
        await _goes_on(line)

    async def scenario() -> None:
        async with serving(chatters) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("x.999")
            assert call.kinds() == ["session.created", *(f"x.{number}" for number in range(1000))]
            call.send("response.create")
            await call.told("output_audio_buffer.stopped")
            assert len(call.backend.bridge._conversation) == 0
            await asyncio.sleep(0)

    run(scenario())
