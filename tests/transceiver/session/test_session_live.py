"""transceiver.session.session for clients that speak GPT-Live: whole calls, before a backend that hears while
it speaks.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from tests.tones import heard, voice
from tests.transceiver.net import PATIENCE_S, Client, Echo, Server, calling, running, until, with_settings
from transceiver.backends.base import SessionContext
from transceiver.media import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES
from transceiver.realtime.event import Event
from transceiver.session.session import Session

HZ = 1500.0
LIVE: Event = {"model": "gpt-live-1", "instructions": "Be brief."}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


class Watcher:
    """A sideband."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.is_over = False

    def show(self, text: str) -> bool:
        self.got.append(json.loads(text))
        return True

    def end(self) -> None:
        self.is_over = True

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.got if event["type"] == kind]

    def audio(self, kind: str, member: str) -> np.ndarray[Any, np.dtype[np.int16]]:
        """The last half second of a voice."""
        chunks = [base64.b64decode(event[member]) for event in self.of(kind)[-5:]]
        return np.frombuffer(b"".join(chunks), "<i2")


class Page:
    """A client with its channel open, who speaks without a pause and hears what comes meanwhile."""

    def __init__(self, server: Server, client: Client) -> None:
        self.client = client
        pcm = voice(HZ, 1.0).tobytes()
        self._frames = [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]
        self._heard: list[bytes] = []
        self._handle = server.ticker.add(self._tick)

    def _tick(self, now_ns: int) -> None:
        if self.client.path is None:
            self._handle.cancel()
            return
        self.client.speak(self._frames[len(self._heard) % len(self._frames)])
        self._heard.append(self.client.path.pull(now_ns) or bytes(FRAME_BYTES))

    def hears(self) -> bool:
        """Whether its own voice has come back for the last half second."""
        return is_voice(np.frombuffer(b"".join(self._heard[-25:]), "<i2"))

    async def event(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.client.messages.get())

    def send(self, kind: str, **members: object) -> None:
        assert self.client.peer.send_message(json.dumps({"type": kind, "event_id": f"my {kind}", **members}))


def is_voice(samples: np.ndarray[Any, np.dtype[np.int16]]) -> bool:
    return len(samples) >= 20 * FRAME_SAMPLES and bool(heard(samples, [HZ], 0.5))


@asynccontextmanager
async def talking(
    live: Event = LIVE, **settings: object
) -> AsyncIterator[tuple[Server, Page, Session, Watcher]]:
    """A client that has spoken, with one who watches."""
    async with running(with_settings(**settings)) as server, calling(server, live=live) as (client, session):
        watcher = Watcher()
        await client.connect()
        async with asyncio.timeout(PATIENCE_S):
            await client.opened.wait()
        assert session.events.attach(watcher, is_trusted=True)
        yield server, Page(server, client), session, watcher


def test_both_speak_at_once_and_a_muted_caller_is_still_watched() -> None:
    async def scenario() -> None:
        async with talking() as (server, page, session, watcher):
            started = await page.event()
            assert (started["type"], started["session"]["id"]) == ("session.started", session.id)
            assert session.id.startswith("live_")
            assert started["session"]["instructions"] == "Be brief."
            await until(page.hears)
            await until(lambda: is_voice(watcher.audio("session.output_audio.delta", "delta")))

            page.send("session.input_audio.mute")
            muted = await page.event()
            assert (muted["type"], muted["client_event_id"]) == (
                "session.input_audio.muted",
                "my session.input_audio.mute",
            )
            await until(lambda: not page.hears())
            before = len(watcher.of("session.input_audio.append"))
            await until(lambda: len(watcher.of("session.input_audio.append")) > before + 8)
            await until(lambda: is_voice(watcher.audio("session.input_audio.append", "audio")))
            assert not page.hears(), "the backend does not"

            page.send("session.input_audio.unmute")
            assert (await page.event())["type"] == "session.input_audio.unmuted"
            await until(page.hears)
            assert [event["type"] for event in watcher.got if "audio" not in event["type"]] == [
                "session.started"
            ]
            spans = [(e["start_ms"], e["end_ms"]) for e in watcher.of("session.output_audio.delta")]
            assert all(end - start in range(20, 101, 20) for start, end in spans)
            assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))

            page.send("session.close")
            closed = await page.event()
            assert (closed["type"], closed["reason"]) == ("session.closed", "close_requested")
            assert closed["client_event_id"] == "my session.close"
            async with asyncio.timeout(PATIENCE_S):
                await page.client.closed
            assert server.counts.ended == ["hangup"]
            assert watcher.got[-1] == closed
            assert watcher.is_over

    run(scenario())


ENDS: tuple[tuple[str, str, list[str]], ...] = (
    ("hangup", "close_requested", []),
    ("too_long", "expired", ["session_expired"]),
    ("silent", "connection_lost", ["session_silent"]),
    ("backend_gone", "connection_lost", ["backend_gone"]),
    ("drained", "connection_lost", ["server_shutting_down"]),
    ("crashed", "connection_lost", ["session_crashed"]),
)


def test_each_end_has_its_reason_on_the_channel_and_beside_it() -> None:
    async def one(end: str, reason: str, errors: list[str]) -> None:
        async with talking() as (server, page, session, watcher):
            await page.event()
            server.manager.close(session, end)
            told = [await page.event() for _ in range(len(errors) + 1)]
            assert [event["error"]["code"] for event in told[:-1]] == errors
            assert (told[-1]["type"], told[-1]["reason"]) == ("session.closed", reason)
            last = [event for event in watcher.got if "audio" not in event["type"]]
            assert last[-len(told) :] == told
            assert all(event["event_id"] for event in told)

    async def scenario() -> None:
        await asyncio.gather(*(one(*end) for end in ENDS))

    run(scenario())


class Duplex(Echo):
    """A backend that writes down what both say while both speak, and says when."""

    def __init__(self, context: SessionContext) -> None:
        super().__init__(context)
        self._told = 0

    def hear(self, pcm: bytes, now_ns: int) -> None:
        super().hear(pcm, now_ns)
        self._told += FRAME_MS
        if self._told % 100 == 0:
            times = {"delta": f" {self._told}", "start_ms": self._told - 100, "end_ms": self._told}
            self._emit({"type": "conversation.item.input_audio_transcription.delta", "item_id": "a", **times})
            self._emit({"type": "response.output_audio_transcript.delta", "response_id": "r", **times})


def test_transcripts_of_a_backend_without_turns_come_while_both_speak() -> None:
    async def scenario() -> None:
        async with running() as server:
            server.factory.make = Duplex
            async with calling(server, live=LIVE) as (client, _):
                await client.connect()
                async with asyncio.timeout(PATIENCE_S):
                    await client.opened.wait()
                page = Page(server, client)
                assert (await page.event())["type"] == "session.started"
                told = [await page.event() for _ in range(20)]
                await until(page.hears)
            kinds = ["session.input_transcript.delta", "session.output_transcript.delta"]
            assert [event["type"] for event in told] == kinds * 10
            spans = [(event["start_ms"], event["end_ms"]) for event in told[::2]]
            assert all(end - start == 100 for start, end in spans)
            assert all(one[1] == other[0] for one, other in itertools.pairwise(spans)), "on one time line"
            assert [(event["start_ms"], event["end_ms"]) for event in told[1::2]] == spans

    run(scenario())


def test_a_client_that_hangs_up_is_a_remote_hangup_to_who_watches() -> None:
    async def scenario() -> None:
        async with talking() as (_, page, _, watcher):
            await page.event()
            await page.client.peer.close()
            await until(lambda: watcher.is_over)
            assert watcher.got[-1]["reason"] == "remote_hangup"

    run(scenario())


def test_a_session_that_lasts_too_long_ends_when_it_was_told_to() -> None:
    async def scenario() -> None:
        async with talking(max_session_s=1) as (_, page, _, _):
            expires_at = (await page.event())["session"]["expires_at"]
            assert (await page.event())["error"]["code"] == "session_expired"
            closed = await page.event()
            assert (closed["reason"], closed["session"]["expires_at"]) == ("expired", expires_at)

    run(scenario())


def test_a_page_may_do_what_it_may_and_knows_it() -> None:
    lists = {
        "allowed_client_events": ["session.input_audio.mute"],
        "allowed_server_events": [{"type": "session.started"}, {"type": "session.input_audio.muted"}],
    }

    async def scenario() -> None:
        async with talking({**LIVE, "client": {"data_channel": lists}}) as (_, page, session, watcher):
            started, info = await page.event(), await page.event()
            assert started["session"]["client"] == {"data_channel": lists}
            assert (info["type"], info["code"]) == ("info", "data_channel_permissions")
            page.send("session.close")
            refused = await page.event()
            assert (refused["type"], refused["client_event_id"]) == ("error", "my session.close")
            assert refused["error"]["code"] == "event_not_allowed"
            session.events.hear_untrusted(json.dumps({"type": "session.input_audio.unmute"}), watcher)
            page.send("session.update", session={"client": {}})
            assert (await page.event())["error"]["code"] == "event_not_allowed"
            update = {"type": "session.update", "event_id": "u", "session": {"client": None}}
            session.events.hear_untrusted(json.dumps(update), watcher)
            assert watcher.of("error")[-1]["error"]["param"] == "session.client", "they are fixed"
            page.send("session.input_audio.mute")
            assert (await page.event())["type"] == "session.input_audio.muted", "and nothing of the others"
            page.client.peer.send_message("no event")
            assert (await page.event())["error"]["code"] == "invalid_event"
            session.events.hear_untrusted(json.dumps({"type": "session.close"}), watcher)
            closed = await page.event()
            assert closed["type"] == "session.closed"
            assert closed["session"].keys() == {"id", "expires_at", "status", "model"}
            assert watcher.got[-1]["session"]["instructions"] == "Be brief."

    run(scenario())


def test_who_has_a_client_secret_watches_without_the_audio() -> None:
    async def scenario() -> None:
        async with talking() as (_, _, session, trusted):
            page_too = Watcher()
            assert session.events.attach(page_too, is_trusted=False)
            await until(lambda: len(trusted.of("session.input_audio.append")) > 2)
            assert [event["type"] for event in page_too.got] == ["session.started"]

    run(scenario())
