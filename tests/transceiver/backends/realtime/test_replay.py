"""A conversation as another backend is told it, and what its client sees of that: nothing."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from core.addr import Endpoint
from tests.ports import free_tcp_port
from tests.transceiver.backends.realtime.calls import Call, calling
from tests.transceiver.backends.realtime.server import run
from tests.transceiver.backends.realtime.wire import Wire
from tests.transceiver.backends.server.kit import serving
from transceiver.backends.clerk.backend import Clerks
from transceiver.backends.realtime.dialect import Dialect
from transceiver.backends.realtime.replay import MAX_CHARS, MAX_ITEMS, items_to_retell

DONE = "conversation.item.done"


def clerks() -> Clerks:
    return Clerks(1, time.monotonic_ns, lambda: "noon")


def message(item_id: str, role: str, *content: dict[str, object]) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "message",
        "role": role,
        "object": "realtime.item",
        "content": list(content),
    }


def told(item_id: str, role: str, kind: str, text: str) -> dict[str, Any]:
    content = [{"type": kind, "text": text}]
    return {"id": item_id, "type": "message", "role": role, "content": content}


SAID = message("i1", "user", {"type": "input_audio", "transcript": "Call me Robert."})
ANSWERED = message("i2", "assistant", {"type": "output_audio", "transcript": "Hello, Robert."})
CALL = {
    "id": "i3",
    "type": "function_call",
    "status": "completed",
    "call_id": "c",
    "name": "f",
    "arguments": "{}",
}
RESULT = {"id": "i4", "type": "function_call_output", "call_id": "c", "output": "noon"}
TOLD = [
    told("i1", "user", "input_text", "Call me Robert."),
    told("i2", "assistant", "output_text", "Hello, Robert."),
    {"id": "i3", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"id": "i4", "type": "function_call_output", "call_id": "c", "output": "noon"},
]


def test_what_was_said_is_told_in_words_and_in_order() -> None:
    assert items_to_retell([SAID, ANSWERED, CALL, RESULT]) == TOLD


@pytest.mark.parametrize(
    "item",
    [
        message("i", "user", {"type": "input_audio", "transcript": None}),
        message("i", "assistant", {"type": "output_audio"}),
        message("i", "nobody", {"type": "input_text", "text": "x"}),
        {"id": "i", "type": "message", "role": "user", "content": None},
        {**CALL, "status": "in_progress"},
        {**CALL, "arguments": None},
        RESULT,
        {"id": "i", "type": "mcp_call"},
        {"id": "i"},
    ],
    ids=range(9),
)
def test_what_nobody_can_tell_is_left_out(item: dict[str, Any]) -> None:
    assert items_to_retell([item]) == []


def test_the_newest_count_and_are_bounded() -> None:
    many = [message(f"i{number}", "user", {"type": "input_text", "text": "x"}) for number in range(200)]
    assert [item["id"] for item in items_to_retell(many)] == [
        f"i{number}" for number in range(200 - MAX_ITEMS, 200)
    ]
    long = [
        message(f"i{number}", "user", {"type": "input_text", "text": "x" * 10_000}) for number in range(20)
    ]
    chosen = items_to_retell(long)
    assert len(chosen) == 6
    assert len(json.dumps(chosen)) <= MAX_CHARS
    assert chosen[-1]["id"] == "i19"


def lost_and_found(**options: Any) -> Wire:
    wire = Wire(**options)
    for item in (SAID, ANSWERED):
        wire.say("conversation.item.done", item=item)
    wire.bridge.lost()
    wire.forget()
    wire.bridge.connected()
    return wire


@pytest.mark.parametrize("has_ids_of_its_own", [False, True])
def test_another_backend_is_told_and_the_client_sees_nothing_of_it(has_ids_of_its_own: bool) -> None:
    wire = lost_and_found()
    assert wire.sent() == ["session.update", *["conversation.item.create"] * 2]
    assert [event["item"] for event in wire.backend[1:]] == TOLD[:2]
    ids = ["b1", "b2"] if has_ids_of_its_own else ["i1", "i2"]
    for item_id, item in zip(ids, TOLD, strict=False):
        for kind in ("conversation.item.added", "conversation.item.done"):
            wire.say(kind, item={**item, "id": item_id}, previous_item_id=None)
    assert wire.client == []
    wire.ask("conversation.item.delete", item_id="i1")
    assert wire.asked("conversation.item.delete")["item_id"] == ids[0]
    wire.say("conversation.item.deleted", item_id=ids[0])
    assert wire.told("conversation.item.deleted")["item_id"] == "i1"
    wire.say("conversation.item.added", item=message("new", "user", {"type": "input_audio"}))
    assert wire.told("conversation.item.added")["item"]["id"] == "new"  # type: ignore[index]


@pytest.mark.parametrize("has_id", [True, False])
def test_one_that_takes_no_items_is_borne_without_a_word_to_the_client(has_id: bool) -> None:
    wire = lost_and_found()
    for event in wire.backend[1:]:
        event_id = {"event_id": event["event_id"]} if has_id else {}
        wire.say("error", error={"code": "unknown_event", "message": "x", **event_id})
    assert wire.client == []
    wire.say("session.updated", session={})
    wire.ask("session.update", event_id="c1", session={"max_output_tokens": 7})
    wire.say("session.updated", session={})
    assert wire.kinds() == ["session.updated"]


def test_the_beta_is_told_in_its_own_words() -> None:
    wire = lost_and_found(dialect=Dialect.BETA)
    assert [event["item"] for event in wire.backend[1:]] == TOLD[:2], "which encode_client_event changes"


def test_words_that_were_not_heard_are_not_told() -> None:
    wire = Wire()
    wire.say("conversation.item.done", item=SAID)
    wire.respond()
    wire.say("response.output_item.added", item=message("item_1", "assistant"))
    wire.delta(1000)
    wire.say("response.output_item.done", item={**ANSWERED, "id": "item_1"})
    wire.wait(200)
    wire.ask("output_audio_buffer.clear")
    wire.ask("conversation.item.retrieve", item_id="item_1")
    retrieved: Any = wire.told("conversation.item.retrieved")["item"]
    assert retrieved["content"] == [{"type": "output_audio"}], "nor shown"
    wire.bridge.lost()
    wire.forget()
    wire.bridge.connected()
    assert [event["item"] for event in wire.backend[1:]] == TOLD[:1]


@pytest.mark.slow
def test_a_caller_whose_backend_dies_in_the_middle_of_a_call_is_still_known() -> None:
    async def write(call: Call, text: str, times: int) -> object:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        call.send("conversation.item.create", item=item)
        call.send("response.create")
        response: Any = (await call.told("response.done", times))["response"]
        assert response["status"] == "completed", response
        return response["output"][0]["content"][0]["text"]

    async def scenario() -> None:
        at = Endpoint("127.0.0.1", free_tcp_port())
        async with calling(f"ws://{at}/v1/realtime") as calls:
            async with serving(clerks(), at=at):
                call = calls.call(output_modalities=["text"])
                await call.told("session.created")
                assert await write(call, "call me robert", 1) == "Hello, Robert."
            await call.until(lambda: call.observer.rows != [])
            before = len(call.events)
            async with serving(clerks(), at=at):
                await call.until(lambda: not call.backend.bridge.is_lost)
                assert await write(call, "who am i", 2) == "Robert."
                told = [event["item"] for event in call.events[before:] if event["type"] == DONE]
                assert len(told) == 2, "the question and its answer, and nothing that was there before"
                assert call.observer.rows == [("closed",)]
                call.close()

    run(scenario())
