"""One call's line: lost, found again, or given up."""

from __future__ import annotations

import asyncio

import pytest

from tests.transceiver.backends.realtime.calls import calling
from tests.transceiver.backends.realtime.server import TONE, Line, run, serving, talkative
from transceiver.observer import EndReason


def test_one_that_says_nothing_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        settings = {"answer_timeout_s": 1, "reconnect_s": 1, "on_loss": "tone"}
        async with serving(Line.to_the_end) as server, calling(server.url, **settings) as calls:
            call = calls.call()
            await call.until(lambda: bool(call.ended))
            assert call.ended == [EndReason.BACKEND_GONE]
            assert call.observer.rows == [("silent",)]
            assert "session rtc_test lost its backend: silent, " in caplog.text

    run(scenario())


def test_a_close_in_mid_response_ends_it_and_the_call_goes_on_with_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks_off(line: Line) -> None:
        await line.greet()
        await line.say("response.created", response={"id": "resp_9"})
        await line.speak(TONE[: 48 * 200], response_id="resp_9")

    async def scenario() -> None:
        async with serving(breaks_off, talkative) as server, calling(server.url) as calls:
            call = calls.call(instructions="Be brief.")
            done = await call.told("response.done")
            assert done["response"]["status"] == "failed"  # type: ignore[index]
            await call.told("output_audio_buffer.stopped", times=2)
            assert call.observer.rows == [("closed",)]
            assert "session rtc_test lost its backend: closed, " in caplog.text
            assert server.lines[1].received[0]["session"]["instructions"] == "Be brief."

    run(scenario())


def test_why_one_hangs_up_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def retired(line: Line) -> None:
        await line.say("error", error={"type": "invalid_request_error", "code": "beta_api_shape_disabled"})

    async def forges(line: Line) -> None:
        await line.say("error", error={"code": "one\nsession rtc_other ended"})

    async def scenario() -> None:
        async with serving(retired, forges, talkative) as server, calling(server.url) as calls:
            await calls.call().told("output_audio_buffer.stopped")

    run(scenario())
    first, second = (record.getMessage() for record in caplog.records if "lost its backend" in record.message)
    assert first.endswith("; it had said beta_api_shape_disabled")
    assert "rtc_other" not in second


def test_one_that_does_not_read_costs_no_more_than_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    async def deaf(line: Line) -> None:
        await line.greet()
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with serving(deaf, talkative) as server, calling(server.url, ping_interval_s=300) as calls:
            call = calls.call()
            await call.told("session.created")
            item = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "x" * 100_000}],
            }
            for _ in range(200):
                call.send("conversation.item.create", item=item)
                await asyncio.sleep(0)
            await call.told("error")
            assert call.observer.rows == [("stalled",)]
            assert "session rtc_test lost its backend: stalled, " in caplog.text

    run(scenario())


@pytest.mark.parametrize("status", [401, 500])
def test_one_that_refuses_is_asked_again_and_the_call_waits(status: int) -> None:
    async def scenario() -> None:
        async with serving(talkative) as server, calling(server.url) as calls:
            server.statuses = [status, status]
            call = calls.call()
            await call.told("output_audio_buffer.stopped")
            assert call.observer.rows == []

    run(scenario())


def test_where_there_is_none_at_all_the_call_ends_with_a_reason() -> None:
    async def scenario() -> None:
        async with serving(talkative) as server:
            url = server.url
        async with calling(url, reconnect_s=1, answer_timeout_s=1) as calls:
            call = calls.call()
            await call.until(lambda: bool(call.ended))
            assert call.ended == [EndReason.BACKEND_GONE]
            assert call.events == []

    run(scenario())
