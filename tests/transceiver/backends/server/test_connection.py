"""One WebSocket: clients and sessions that misbehave, and how each of them ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tracemalloc

import aiohttp
import pytest

from tests.sound import silence, speech
from tests.transceiver.backends.server.kit import PATIENCE_S, parrots, serving, talking
from transceiver.backends.server.client import AudioPart, Client
from transceiver.backends.server.exchange import MAX_MESSAGE_CHARS
from transceiver.backends.server.outbox import ENOUGH_CHARS, MOST_CHARS
from transceiver.media import FRAME_BYTES
from transceiver.realtime.event import Event
from transceiver.realtime.settings import SessionSettings


class Odd:
    """A session that does what the test wants when it is told `response.create`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.is_closed = False
        self._over = asyncio.Event()

    def configure(self, settings: SessionSettings) -> SessionSettings:
        return settings

    def hear(self, pcm: bytes, now_ns: int) -> None:
        raise AssertionError("it has bad ears")

    def receive_event(self, event: Event) -> None:
        self.client.send("response.created", response={"id": "resp_1"})
        if event["type"] == "response.cancel":
            self._over.set()
        elif event["type"] == "response.create":
            while not self.client.is_slow():
                self.client.speak(AudioPart("resp_1", "item_1"), bytes(FRAME_BYTES))

    async def run(self) -> None:
        await self._over.wait()

    def close(self) -> None:
        self.is_closed = True


class Odds:
    def __init__(self) -> None:
        self.made: list[Odd] = []

    async def start(self) -> None: ...

    def create(self, client: Client) -> Odd:
        self.made.append(Odd(client))
        return self.made[-1]

    async def close(self) -> None:
        assert all(session.is_closed for session in self.made)


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """The code, once everything before it was read."""
    async with asyncio.timeout(PATIENCE_S):
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    return socket.close_code


def test_a_session_that_fails_ends_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        odds = Odds()
        async with serving(odds) as served, talking(served.url) as other, talking(served.url) as talk:
            await talk.until("session.created")
            await talk.append(bytes(FRAME_BYTES))
            error = (await talk.until("error"))["error"]
            assert isinstance(error, dict)
            assert error["code"] == "session_crashed"
            assert await closed(talk.socket) == aiohttp.WSCloseCode.INTERNAL_ERROR
            await other.ask("response.create", "response.created")
            assert [session.is_closed for session in odds.made] == [False, True]
        assert all(session.is_closed for session in odds.made)

    asyncio.run(scenario())
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] != []
    assert "bad ears" in caplog.text


def test_a_session_that_is_over_hangs_up() -> None:
    async def scenario() -> None:
        async with serving(Odds()) as served, talking(served.url) as talk:
            await talk.send("response.cancel")
            assert await closed(talk.socket) == aiohttp.WSCloseCode.OK

    asyncio.run(scenario())


def test_a_client_that_reads_slowly_stops_the_speech_and_no_more() -> None:
    async def scenario() -> None:
        odds = Odds()
        async with serving(odds) as served, talking(served.url) as talk:
            await talk.ask("response.create", "response.created")
            await talk.send("response.cancel")
            await closed(talk.socket)
            spoken = odds.made[0].client.spoken("item_1")
            assert spoken is not None
            assert spoken.sent * 4 / 3 < ENOUGH_CHARS + 10_000

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_client_that_only_talks_is_given_up_and_costs_no_memory() -> None:
    async def scenario() -> None:
        frame = masked(json.dumps({"type": "conversation.item.retrieve", "item_id": "x" * 200}).encode())
        async with serving(Odds(), ping_s=0.5) as served:
            _, writer = await handshake(served.at.port)
            tracemalloc.start()
            try:
                with contextlib.suppress(ConnectionError):
                    async with asyncio.timeout(PATIENCE_S):
                        while True:
                            writer.write(frame * 100)
                            await writer.drain()
                async with asyncio.timeout(PATIENCE_S):
                    await served.server.emptied()
                assert tracemalloc.get_traced_memory()[1] < 4 * MOST_CHARS
            finally:
                tracemalloc.stop()
                writer.transport.abort()

    asyncio.run(scenario())


async def handshake(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def masked(payload: bytes) -> bytes:
    """A text frame of a client's (RFC 6455 §5.2), with a mask that changes nothing."""
    assert 126 <= len(payload) < 65_536
    return bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


def test_a_client_that_answers_no_ping_is_let_go() -> None:
    async def scenario() -> None:
        async with serving(Odds(), ping_s=0.2) as served:
            _, writer = await handshake(served.at.port)
            async with asyncio.timeout(PATIENCE_S):
                await served.server.emptied()
            writer.transport.abort()

    asyncio.run(scenario())


def test_a_client_that_answers_pings_stays() -> None:
    async def scenario() -> None:
        async with serving(Odds(), ping_s=0.05) as served, talking(served.url, autoping=False) as talk:
            await talk.until("session.created")
            for _ in range(4):
                async with asyncio.timeout(PATIENCE_S):
                    message = await talk.socket.receive()
                assert message.type is aiohttp.WSMsgType.PING
                await talk.socket.pong(message.data)
            await talk.ask("response.create", "response.created")

    asyncio.run(scenario())


def test_a_message_that_is_too_long_ends_its_connection_alone() -> None:
    async def scenario() -> None:
        async with serving(Odds()) as served, talking(served.url) as other, talking(served.url) as talk:
            with contextlib.suppress(ConnectionError):  # it closes before it has read all of that
                await talk.socket.send_str("x" * (MAX_MESSAGE_CHARS + 1))
                assert await closed(talk.socket) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
            await other.ask("response.create", "response.created")
            assert served.server.sessions == 1

    asyncio.run(scenario())


def test_bytes_are_no_events_and_the_session_goes_on() -> None:
    async def scenario() -> None:
        async with serving(Odds()) as served, talking(served.url) as talk:
            await talk.socket.send_bytes(b"\x00\xff")
            error = (await talk.until("error"))["error"]
            assert isinstance(error, dict)
            assert error["code"] == "invalid_event"
            await talk.ask("response.create", "response.created")

    asyncio.run(scenario())


@pytest.mark.slow
def test_minutes_appended_at_once_are_heard_in_order_while_others_are_served() -> None:
    async def scenario() -> None:
        async with serving(parrots()) as served, talking(served.url) as long, talking(served.url) as short:
            sentence = speech().tobytes() + silence(1_000).tobytes()
            await long.append(sentence * 40)
            await long.send("input_audio_buffer.clear")
            await short.append(sentence)
            await short.until("response.done")
            assert "response.done" not in long.kinds()
            await long.until("input_audio_buffer.cleared")
            assert long.kinds().count("response.done") == 40

    asyncio.run(scenario())
