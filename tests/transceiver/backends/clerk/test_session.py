"""The clerk from outside: words in, words out, by WebSocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.sound import silence
from tests.transceiver.backends.clerk.kit import words
from tests.transceiver.backends.server.kit import Talk, serving, talking
from transceiver.backends.clerk.backend import Clerks

NOW = "3:15 PM"
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
TURNS = {"type": "server_vad", "silence_duration_ms": 200}
TOOL = {"type": "function", "name": "get_time", "description": "The time.", "parameters": {"type": "object"}}

pytestmark = pytest.mark.slow


def clerks() -> Clerks:
    return Clerks(1, time.monotonic_ns, lambda: NOW)


async def say(talk: Talk, text: str) -> None:
    await talk.append(words(text).tobytes() + silence(600).tobytes())


async def write(talk: Talk, text: str) -> None:
    part = {"type": "input_text", "text": text}
    item = {"type": "message", "role": "user", "content": [part]}
    await talk.send("conversation.item.create", item=item)


async def answered(talk: Talk) -> tuple[str, Any]:
    """(status, the words of the first item) of the next response."""
    response = (await talk.until("response.done"))["response"]
    assert isinstance(response, dict)
    contents = [part for item in response["output"] for part in item.get("content", [])]
    return response["status"], contents[0].get("transcript", contents[0].get("text")) if contents else None


def audio(**members: object) -> Mapping[str, object]:
    return {"type": "realtime", "audio": {"input": members}}


def test_a_caller_is_understood_answered_and_remembered() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.ask("session.update", "session.updated", session=audio(turn_detection=TURNS))
            await say(talk, "call me robert")
            transcript = await talk.until(TRANSCRIBED)
            assert (transcript["transcript"], transcript["content_index"]) == ("call me robert", 0)
            added = next(event["item"] for event in talk.events if event["type"] == "conversation.item.added")
            assert added["content"] == [{"type": "input_audio", "transcript": None}]  # type: ignore[index]
            assert await answered(talk) == ("completed", "Hello, Robert.")
            assert len(talk.audio()) > 24_000
            stages = talk.events[-1]["voxpop"]["stages_ms"]  # type: ignore[index]
            assert list(stages) == ["end_of_turn", "recognition", "reply", "speech", "total"]
            assert stages["total"] == pytest.approx(sum(stages.values()) / 2, abs=1)
            item = await talk.ask(
                "conversation.item.retrieve", "conversation.item.retrieved", item_id=transcript["item_id"]
            )
            assert item["item"]["content"][0]["transcript"] == "call me robert"  # type: ignore[index]
            await say(talk, "what time is it")
            assert await answered(talk) == ("completed", f"It is {NOW}, Robert.")
            await say(talk, "who am i")
            assert await answered(talk) == ("completed", "Robert.")

    asyncio.run(scenario())


def test_the_client_runs_the_function_and_hears_what_it_told() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.ask("session.update", "session.updated", session={"tools": [TOOL]})
            await say(talk, "what time is it")
            await talk.until("response.done")
            (call,) = talk.events[-1]["response"]["output"]  # type: ignore[index]
            assert (call["type"], call["name"], call["arguments"]) == ("function_call", "get_time", "{}")
            output = {
                "type": "function_call_output",
                "call_id": call["call_id"],
                "output": '{"time": "noon"}',
            }
            await talk.send("conversation.item.create", item=output)
            await talk.send("response.create")
            assert await answered(talk) == ("completed", "It is noon.")

    asyncio.run(scenario())


def test_who_speaks_over_it_is_listened_to() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.ask("session.update", "session.updated", session=audio(turn_detection=TURNS))
            await write(talk, "repeat " + "one two three " * 30)
            await talk.send("response.create")
            await talk.until("response.output_audio.delta")
            await say(talk, "what time is it")
            assert (await answered(talk))[0] == "cancelled"
            assert talk.events[-1]["response"]["status_details"]["reason"] == "turn_detected"  # type: ignore[index]
            item_id = talk.events[-1]["response"]["output"][0]["id"]  # type: ignore[index]
            truncated = await talk.ask(
                "conversation.item.truncate",
                "conversation.item.truncated",
                item_id=item_id,
                content_index=0,
                audio_end_ms=100,
            )
            assert truncated["audio_end_ms"] == 100
            assert await answered(talk) == ("completed", f"It is {NOW}.")
            item = await talk.ask(
                "conversation.item.retrieve", "conversation.item.retrieved", item_id=item_id
            )
            assert "transcript" not in item["item"]["content"][0]  # type: ignore[index]

    asyncio.run(scenario())


def test_a_client_that_ends_turns_itself_is_answered_when_it_asks() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            session = audio(turn_detection=None, transcription=None)
            await talk.ask("session.update", "session.updated", session=session)
            for kind, code in (
                ("input_audio_buffer.commit", "input_audio_buffer_commit_empty"),
                ("response.cancel", "response_cancel_not_active"),
            ):
                error = (await talk.ask(kind, "error", event_id="mine"))["error"]
                assert isinstance(error, dict)
                assert (error["code"], error["event_id"]) == (code, "mine")
            await talk.append(words("what is my name").tobytes())
            await talk.send("input_audio_buffer.clear")
            await talk.append(words("what time is it").tobytes())
            await talk.send("input_audio_buffer.commit")
            await talk.send("response.create", response={"metadata": {"mine": "1"}})
            assert await answered(talk) == ("completed", f"It is {NOW}.")
            assert talk.events[-1]["response"]["metadata"] == {"mine": "1"}  # type: ignore[index]
            assert TRANSCRIBED not in talk.kinds()

    asyncio.run(scenario())


def test_text_is_answered_with_text() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.ask("session.update", "session.updated", session={"output_modalities": ["text"]})
            await write(talk, "repeat any words at all")
            await talk.send("response.create")
            assert await answered(talk) == ("completed", "Any words at all.")
            assert talk.audio() == b""

    asyncio.run(scenario())


def test_a_conversation_that_is_written_again_is_remembered() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.ask("session.update", "session.updated", session={"output_modalities": ["text"]})
            await write(talk, "call me robert")
            await write(talk, "who am i")
            await talk.send("response.create")
            assert await answered(talk) == ("completed", "Robert.")

    asyncio.run(scenario())


def test_what_is_no_message_says_nothing_whatever_is_in_it() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.ask("session.update", "session.updated", session={"output_modalities": ["text"]})
            await write(talk, "repeat seven")
            call = {"type": "function_call", "call_id": "c", "role": "user", "content": 5}
            await talk.ask("conversation.item.create", "conversation.item.done", item=call)
            await talk.send("response.create")
            assert await answered(talk) == ("completed", "Seven.")

    asyncio.run(scenario())


def test_who_falls_silent_in_a_turn_keeps_nobody_else_waiting() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as mute, talking(served.url) as talk:
            await mute.ask("session.update", "session.updated", session=audio(turn_detection=TURNS))
            said = words("call me robert").tobytes()
            await mute.append(said)
            await mute.until("input_audio_buffer.speech_started")
            await say(talk, "what time is it")
            assert await answered(talk) == ("completed", f"It is {NOW}.")
            await mute.append(silence(600).tobytes())
            assert await answered(mute) == ("completed", "Hello, Robert.")

    asyncio.run(scenario())


def test_more_turns_than_can_wait_are_told_so() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.append((words("call me robert").tobytes() + silence(900).tobytes()) * 12)
            failed = await talk.until("conversation.item.input_audio_transcription.failed")
            assert failed["error"]["code"] == "too_many_turns"  # type: ignore[index]

    asyncio.run(scenario())


def test_who_changes_whose_turn_it_is_in_the_middle_of_one_is_heard_again() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await talk.ask("session.update", "session.updated", session=audio(turn_detection=None))
            await talk.append(words("call me").tobytes())
            await talk.ask("session.update", "session.updated", session=audio(turn_detection=TURNS))
            await say(talk, "what time is it")
            assert await answered(talk) == ("completed", f"It is {NOW}.")

    asyncio.run(scenario())


def test_an_answer_may_be_cancelled_and_asked_for_again() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await write(talk, "repeat " + "one two three " * 30)
            await talk.ask("response.create", "response.created")
            await talk.send("response.cancel")
            status, _ = await answered(talk)
            assert status == "cancelled"
            assert talk.events[-1]["response"]["status_details"]["reason"] == "client_cancelled"  # type: ignore[index]
            await write(talk, "repeat one")
            await talk.send("response.create")
            assert await answered(talk) == ("completed", "One.")

    asyncio.run(scenario())


def test_an_answer_may_be_cancelled_and_the_next_one_asked_for_in_one_breath() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served, talking(served.url) as talk:
            await write(talk, "repeat " + "one two three " * 30)
            await talk.ask("response.create", "response.created")
            await talk.send("response.cancel")
            await talk.send("response.create", response={"output_modalities": ["text"]})
            assert (await answered(talk))[0] == "cancelled"
            assert (await answered(talk))[0] == "completed"
            assert "error" not in talk.kinds()

    asyncio.run(scenario())
