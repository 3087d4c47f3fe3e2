"""A caller, a transceiver process, and the clerk behind a WebSocket: words, tools, and what was heard."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sound import frames
from tests.transceiver.backends.clerk.kit import words
from tests.transceiver.backends.server.kit import Served
from tests.transceiver.backends.server.kit import serving as clerk_serving
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_calls import calling, hosting
from tests.transceiver.host_kit import Host
from tests.transceiver.net import PATIENCE_S, until
from tests.transceiver.signaling.kit import JSON, SDP
from transceiver.backends.clerk.backend import Clerks
from transceiver.backends.clerk.orders import understand
from transceiver.caller.call import Call

pytestmark = pytest.mark.slow


TOOL = {"type": "function", "name": "get_time", "parameters": {"type": "object"}}
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


class Client:
    """A call's events, as a client of the API has them."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._read = 0

    def send(self, kind: str, **members: object) -> None:
        assert self._call.transport is not None
        assert self._call.transport.send_event(json.dumps({"type": kind, **members}))

    async def told(self, kind: str) -> Any:
        """The next of its kind."""
        found: list[Any] = []

        def is_there() -> bool:
            events = [each.event for each in self._call.record.events]
            while not found and self._read < len(events):
                event = events[self._read]
                self._read += 1
                found.extend([event] if event["type"] == kind else [])
            return bool(found)

        await until(is_there)
        return found[0]

    def write(self, item: object) -> None:
        self.send("conversation.item.create", item=item)
        self.send("response.create")


async def say(client: Client, call: Call, text: str, kind: str) -> None:
    """Until it is understood, as a caller would: it goes through Opus, on a machine that may be busy."""
    for _ in range(3):
        saying = asyncio.create_task(call.converse(frames(words(text)), 1, PATIENCE_S))
        started = await client.told("input_audio_buffer.speech_started")
        committed = await client.told("input_audio_buffer.committed")
        transcribed = await client.told(TRANSCRIBED)
        assert committed["item_id"] == transcribed["item_id"] == started["item_id"]
        await client.told("output_audio_buffer.stopped")
        saying.cancel()
        if understand(transcribed["transcript"]).kind == kind:
            return
    pytest.fail(f"{text!r} was not understood: {transcribed['transcript']!r}")


async def runs_a_tool(client: Client) -> Any:
    """Typed, so that nothing of it can be misheard. The item of the answer to its result."""
    content = [{"type": "input_text", "text": "what time is it"}]
    client.write({"type": "message", "role": "user", "content": content})
    asked = (await client.told("response.output_item.done"))["item"]
    assert (asked["type"], asked["name"], asked["status"]) == ("function_call", "get_time", "completed")
    result = {
        "type": "function_call_output",
        "call_id": asked["call_id"],
        "output": '{"time": "half past two"}',
    }
    await client.told("response.done")
    client.write(result)
    said = await client.told("response.output_audio_transcript.delta")
    assert said["delta"].startswith("It is half past two")
    return said["item_id"]


async def interrupts(client: Client, served: Served, item_id: str) -> None:
    """The client, the clerk and what both say of the item agree to the millisecond."""
    await client.told("output_audio_buffer.started")
    await asyncio.sleep(0.3)
    client.send("response.cancel")
    truncated = await client.told("conversation.item.truncated")
    await client.told("output_audio_buffer.cleared")
    assert truncated["item_id"] == item_id
    assert 200 <= truncated["audio_end_ms"] <= 1500
    (connection,) = served.server._connections

    def heard_ms() -> int:
        spoken = connection._client.spoken(item_id)
        assert spoken is not None
        return spoken.duration_ms

    await until(lambda: heard_ms() == truncated["audio_end_ms"])
    client.send("conversation.item.retrieve", item_id=item_id)
    retrieved = await client.told("conversation.item.retrieved")
    assert retrieved["item"]["content"] == [{"type": "output_audio"}]


def test_words_tools_and_truncations_go_through_to_a_clerk(tmp_path: Path) -> None:
    async def scenario() -> Host:
        async with (
            clerk_serving(Clerks(1, time.monotonic_ns, lambda: "noon")) as served,
            hosting(tmp_path, served.url, connections=0, **{"models.fast": "clerk"}) as host,
        ):
            await asyncio.to_thread(refuses_other_models, host)
            async with calling(host, 2 * PATIENCE_S) as call:
                client = Client(call)
                await client.told("session.created")
                turns = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 300}}
                client.send("session.update", session={"tools": [TOOL], "audio": {"input": turns}})
                assert (await client.told("session.updated"))["session"]["tools"] == [TOOL]
                await say(client, call, "call me robert", "name")
                await interrupts(client, served, await runs_a_tool(client))
                assert all(each.event["event_id"] for each in call.record.events)
        return host

    host = asyncio.run(scenario())
    assert not any("Traceback" in text for text in host.log)


def refuses_other_models(host: Host) -> None:
    """In the query of a call, and in a secret before there is one."""
    offer = host.request("POST", "/v1/realtime?model=slow", CHROMIUM, SDP)
    body = json.dumps({"session": {"model": "slow"}})
    secret = host.request("POST", "/v1/realtime/client_secrets", body, JSON)
    for response in (offer, secret):
        assert response.status == 400
        assert json.loads(response.body)["error"]["param"] == "session.model"
    taken = host.request("POST", "/v1/realtime?model=fast", CHROMIUM, SDP)
    assert taken.status == 201
    host.request("DELETE", taken.headers["Location"])
