"""Calls over real WebSockets: to good backends, and to those that misbehave."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import weakref

import numpy as np
import pytest

from tests.sound import find, frames, speech
from tests.tones import voice
from tests.transceiver.backends.realtime.calls import calling
from tests.transceiver.backends.realtime.server import TONE, Line, echo, run, serving, talkative
from tests.transceiver.net import until
from transceiver.backends.realtime.backend import RemoteBackends
from transceiver.backends.realtime.settings import RealtimeSettings
from transceiver.media import FRAME_MS
from transceiver.realtime.settings import DEFAULTS, audio_side


@pytest.mark.slow
def test_a_turn_goes_out_and_its_answer_comes_back() -> None:
    async def scenario() -> None:
        async with serving(echo) as server, calling(server.url) as calls:
            call = calls.call()
            call.say(frames(speech()))
            await call.told("output_audio_buffer.stopped")
            match = find(speech(), np.frombuffer(call.audible(), "<i2"))
            assert match.likeness > 0.99
            assert call.kinds()[:3] == [
                "session.created",
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
            ]

    run(scenario())


# Backends that misbehave


def test_nothing_of_an_ended_call_is_left() -> None:
    async def scenario() -> None:
        async with serving(talkative) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("output_audio_buffer.started")
            left = weakref.ref(call.backend), weakref.ref(call.backend.bridge)
            gc.disable()
            try:
                call.close()
                calls.made.clear()
                del call.backend  # a session does not hold on to its backend by `emit`, as this call does
                await until(lambda: not calls.factory._links)
                assert [ref() for ref in left] == [None, None]
            finally:
                gc.enable()

    run(scenario())


def test_faster_than_real_time_is_paced() -> None:
    async def scenario() -> None:
        async with serving(talkative) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("output_audio_buffer.started")
            begin = len(call.heard)
            await call.told("output_audio_buffer.stopped")
            assert find(voice(1200, 1.0), samples(call.audible())).likeness > 0.999
            assert call.kinds().index("response.done") < call.kinds().index("output_audio_buffer.stopped")
            assert 48 <= len(call.heard) - begin <= 52

    run(scenario())


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2")


def test_slower_than_real_time_is_heard_whole() -> None:
    async def slow(line: Line) -> None:
        await line.greet()
        await line.say("response.created", response={"id": "resp_1"})
        for start in range(0, len(TONE), 48 * 40):
            await line.speak(TONE[start : start + 48 * 40])
            await asyncio.sleep(0.06)
        await line.say("response.done", response={"id": "resp_1", "status": "completed"})
        await line.to_the_end()

    async def scenario() -> None:
        async with serving(slow) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("output_audio_buffer.stopped")
            counts = call.backend.bridge.answers.playout.counts
            assert counts.played == len(TONE) // 2
            assert counts.underruns > 0
            assert call.kinds().count("output_audio_buffer.started") == 1

    run(scenario())


def test_another_rate_than_asked_is_played_at_its_own() -> None:
    async def sixteen(line: Line) -> None:
        other = {"format": {"type": "audio/pcm", "rate": 16_000}}
        await line.say("session.created", session={})
        await line.until("session.update")
        await line.say("session.updated", session={"audio": {"input": other, "output": other}})
        at_16k = np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000) * 8000
        await line.say("response.created", response={"id": "resp_1"})
        await line.delta(base64.b64encode(at_16k.astype("<i2").tobytes()).decode())
        await line.say("response.done", response={"id": "resp_1", "status": "completed"})
        await line.to_the_end()

    async def scenario() -> None:
        async with serving(sixteen) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("output_audio_buffer.stopped")
            heard = samples(call.audible())[2400:21600].astype(float)
            peak_hz = np.abs(np.fft.rfft(heard)).argmax() * 24_000 / len(heard)
            assert abs(peak_hz - 500) < 2

    run(scenario())


def test_what_is_answered_after_a_cancel_is_not_heard() -> None:
    async def deaf(line: Line) -> None:
        await line.greet()
        await line.say("response.created", response={"id": "resp_1"})
        await line.speak(TONE)
        await line.until("response.cancel")
        await line.speak(TONE)
        await line.say("response.done", response={"id": "resp_1", "status": "cancelled"})
        await line.speak(TONE)
        await line.say("rate_limits.updated", rate_limits=[])
        await line.to_the_end()

    async def scenario() -> None:
        async with serving(deaf) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("output_audio_buffer.started")
            call.send("response.cancel")
            cut_at = len(call.heard)
            await call.told("rate_limits.updated")
            await call.until(lambda: len(call.heard) > cut_at + 20)
            assert not any(frame and any(frame) for frame in call.heard[cut_at + 1 :])
            truncated = (await call.told("conversation.item.truncated"))["audio_end_ms"]
            heard_ms = len(call.heard[:cut_at]) * FRAME_MS
            assert isinstance(truncated, int)
            assert 0 < truncated <= heard_ms + 5
            sent = [event["type"] for event in server.lines[0].received]
            assert sent.count("response.cancel") == 1

    run(scenario())


def test_events_of_the_client_reach_the_backend_as_they_are() -> None:
    async def listens(line: Line) -> None:
        await line.greet()
        created = await line.until("conversation.item.create")
        assert created is not None
        await line.say("conversation.item.added", previous_item_id=None, item={"id": "i", **created["item"]})
        await line.say("error", error={"type": "x", "message": "m", "event_id": created["event_id"]})
        await line.to_the_end()

    async def scenario() -> None:
        async with serving(listens) as server, calling(server.url) as calls:
            call = calls.call()
            item = {"type": "function_call_output", "call_id": "c", "output": json.dumps({"time": "ten"})}
            call.send("conversation.item.create", event_id="mine", item=item)
            assert (await call.told("conversation.item.added"))["item"] == {"id": "i", **item}
            assert (await call.told("error"))["error"]["event_id"] == "mine"  # type: ignore[index]

    run(scenario())


# Settings


@pytest.mark.parametrize(
    ("wanted", "model"),
    [({}, "ours"), ({"language": "de"}, "ours"), ({"model": "theirs"}, "theirs"), (None, None)],
    ids=["empty", "no model", "model", "none"],
)
def test_transcripts_are_by_our_model_where_they_are_wanted_and_none_is_named(
    wanted: dict[str, str] | None, model: str | None
) -> None:
    asked = DEFAULTS.updated({"audio": {"input": {"transcription": wanted}}})
    for ours in ("ours", ""):
        factory = RemoteBackends(RealtimeSettings(url="ws://127.0.0.1:9/", model="any", transcription=ours))
        found = audio_side(factory.with_transcription(asked).members, "input")["transcription"]
        expected = None if wanted is None else {**wanted, **({"model": model} if ours else {})}
        assert found == expected
