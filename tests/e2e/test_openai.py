"""OpenAI's Python package, unchanged: its client drives what we serve, and its types judge every event. Other
clients are in tests/peers.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.peers.judge import judge, judged
from tests.sound import find, silence, speech
from tests.transceiver.backends.server.kit import PATIENCE_S, parrots, samples, serving
from tests.transceiver.host_calls import calling, hosting
from tests.transceiver.host_kit import Host
from transceiver.backends.clerk.backend import Clerks
from transceiver.backends.server.app import Access

KEY = "vpk_not-a-secret"
WORDS: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "repeat seven"}]}
TOO_FAST: Any = {
    "type": "session.update",
    "event_id": "too-fast",
    "session": {"type": "realtime", "audio": {"output": {"speed": 9}}},
}


class Talk:
    """A connection of the package's, which takes no event that its types do not allow."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def receive(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            event = judged((await self.connection.recv_bytes()).decode())
        self.events.append(event)
        return event

    async def until(self, kind: str) -> Any:
        while (event := await self.receive()).type != kind:
            pass
        return event

    async def append(self, pcm: bytes) -> None:
        await self.connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    def audio(self) -> bytes:
        deltas = [event.delta for event in self.events if event.type == "response.output_audio.delta"]
        return b"".join(map(base64.b64decode, deltas))


@asynccontextmanager
async def talking(speed: float | None = None) -> AsyncIterator[Talk]:
    access = Access(lambda key: "alice" if key == KEY else None, 8)
    async with serving(parrots(speed), access) as served:
        client = AsyncOpenAI(api_key=KEY, websocket_base_url=f"ws://{served.at}/v1")
        async with client, client.realtime.connect(model="parrot") as connection:
            yield Talk(connection)


def test_a_turn_is_spoken_back_truncated_and_retrieved() -> None:
    async def scenario() -> None:
        async with talking() as talk:
            turns = {"type": "server_vad", "silence_duration_ms": 200}
            await talk.connection.session.update(
                session={"type": "realtime", "audio": {"input": {"turn_detection": turns}}}
            )
            session = (await talk.until("session.updated")).session
            assert session.audio.input.turn_detection.silence_duration_ms == 200
            await talk.append(speech().tobytes() + silence(400).tobytes())
            item_id = (await talk.until("response.done")).response.output[0].id
            assert find(speech(), samples(talk.audio())).likeness > 0.999
            conversation = talk.connection.conversation
            await conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=500)
            assert (await talk.until("conversation.item.truncated")).audio_end_ms == 500
            await conversation.item.retrieve(item_id=item_id)
            assert (await talk.until("conversation.item.retrieved")).item.id == item_id
            await conversation.item.delete(item_id=item_id)
            await talk.until("conversation.item.deleted")

    asyncio.run(scenario())


def test_a_response_is_cancelled_and_asked_for_again() -> None:
    async def scenario() -> None:
        async with talking(speed=1.0) as talk:
            await talk.append(speech().tobytes() + silence(700).tobytes())
            await talk.until("response.output_audio.delta")
            await talk.connection.response.cancel()
            response = (await talk.until("response.done")).response
            assert (response.status, response.status_details.reason) == ("cancelled", "client_cancelled")
            await talk.connection.response.create(response={"metadata": {"mine": "1"}})
            response = (await talk.until("response.done")).response
            assert (response.status, response.metadata) == ("completed", {"mine": "1"})

    asyncio.run(scenario())


def test_the_client_ends_turns_itself_and_mistakes_are_told_by_event() -> None:
    async def scenario() -> None:
        async with talking() as talk:
            await talk.connection.session.update(
                session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
            )
            await talk.connection.input_audio_buffer.commit(event_id="empty")
            error = (await talk.until("error")).error
            assert (error.code, error.event_id) == ("input_audio_buffer_commit_empty", "empty")
            await talk.append(speech().tobytes())
            await talk.connection.input_audio_buffer.commit()
            await talk.until("conversation.item.done")
            await talk.connection.input_audio_buffer.clear()
            await talk.until("input_audio_buffer.cleared")
            await talk.connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
            )
            await talk.until("conversation.item.done")
            await talk.connection.response.create()
            await talk.until("response.done")
            assert find(speech()[:24_000], samples(talk.audio())).likeness > 0.999

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_running_call_is_steered_and_every_event_of_it_is_one_of_the_protocol(tmp_path: Path) -> None:
    """Those of the event channel as well as those of the sideband."""

    async def scenario(host: Host) -> None:
        url = f"//{host.address}:{host.http}/v1"
        client = AsyncOpenAI(
            api_key=host.keys["alice"], base_url=f"http:{url}", websocket_base_url=f"ws:{url}"
        )
        async with calling(host, 2 * PATIENCE_S) as call, client:
            assert call.record.session_id is not None
            async with client.realtime.connect(call_id=call.record.session_id) as connection:
                talk = Talk(connection)
                assert (await talk.receive()).type == "session.created"
                await connection.session.update(session={"type": "realtime", "instructions": "Be short."})
                assert (await talk.until("session.updated")).session.instructions == "Be short."
                await connection.send(TOO_FAST)
                assert (await talk.until("error")).error.event_id == TOO_FAST["event_id"]
                await connection.conversation.item.create(item=WORDS)
                await connection.response.create()
                (said,) = (await talk.until("response.done")).response.output
                assert said.content[0].transcript == "Seven."
                await talk.until("output_audio_buffer.stopped")
            await client.realtime.calls.hangup(call.record.session_id)
        seen = [event.type for event in judge(json.dumps(event.event) for event in call.record.events)]
        assert seen[0] == "session.created"
        assert {event.type for event in talk.events} - {"error"} <= set(seen)

    async def whole() -> None:
        clerks = Clerks(1, time.monotonic_ns, lambda: "noon")
        async with serving(clerks) as served, hosting(tmp_path, served.url, model="clerk") as host:
            await scenario(host)

    asyncio.run(whole())
