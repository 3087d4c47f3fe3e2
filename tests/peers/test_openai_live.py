"""GPT-Live by the `openai` packages: a page's connection by that of npm, its server by that of PyPI. Only the
base URLs are set. The types of the latter judge every event that we send.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from openai import AsyncOpenAI, UnprocessableEntityError
from openai.lib.live import TranscriptGrouper, TranscriptSegmentClosedEvent
from openai.types.live import ServerEvent
from pydantic import TypeAdapter
from yarl import URL

from tests.decoding import decode
from tests.peers.front import Front, front
from tests.peers.judge import LIVE, judge, judged
from tests.peers.packages import visiting
from tests.peers.test_agents_npm import LEAST_LIKENESS, spoken
from tests.sound import Samples, find, likeness_in_pieces
from tests.transceiver.backends.clerk.kit import words
from tests.transceiver.net import until
from transceiver.caller.api import Placed, SignalingClient
from transceiver.caller.call import Call
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate

PATIENCE_S = 30
NAME = words("call me robert")
WORDS = NAME.nonzero()[0][0]
"""Where they begin."""
SESSION: Any = {"model": "gpt-live-1", "instructions": "Be short."}
PRIMARY: TypeAdapter[Any] = TypeAdapter(ServerEvent)
HISTORY: Any = [{"role": "user", "content": [{"text": "Hello"}]}]


class Side:
    """A sideband of the package's, which takes nothing that its types do not allow."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def receive(self) -> None:
        """Until it is closed."""
        async for data in self._messages():
            self.events.append(judged(data.decode(), LIVE))

    async def _messages(self) -> AsyncIterator[bytes]:
        while self.events[-1:] == [] or self.events[-1].type != "session.closed":
            yield await self.connection.recv_bytes()

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    async def until(self, kind: str, times: int = 1) -> None:
        await until(lambda: len(self.of(kind)) >= times)

    def audio(self, kind: str, since: int = 0) -> Samples:
        chunks = [getattr(event, "audio", None) or event.delta for event in self.of(kind)[since:]]
        return np.frombuffer(b"".join(map(base64.b64decode, chunks)), "<i2")


@asynccontextmanager
async def attached(here: AsyncOpenAI, session_id: str) -> AsyncIterator[Side]:
    async with here.live.sideband.connect(session_id=session_id) as connection:
        side = Side(connection)
        reading = asyncio.create_task(side.receive())
        try:
            yield side
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert reading.cancelled() or reading.exception() is None


@pytest.mark.browser
def test_a_page_talks_is_muted_and_closes_while_its_server_watches(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            visiting(tmp_path, "live.js", "clerk", {"name": NAME}) as (page, front),
            front.client() as here,
        ):
            offer = await page.evaluate("return await offer()")
            made = await here.live.create(session=SESSION, transport={"type": "webrtc", "sdp": offer})
            assert made.session.id.startswith("live_")
            await page.evaluate(f"await answer({json.dumps(made.transport.sdp)})")
            await page.wait_for("count('session.started') === 1")
            async with attached(here, made.session.id) as side:
                await page.evaluate("record(); await say('name')")
                await page.wait_for("count('session.output_transcript.delta') === 1", PATIENCE_S)
                answer = await spoken("Hello, Robert.")
                await until(lambda: len(side.audio("session.output_audio.delta")) >= len(answer))
                seen = np.pad(side.audio("session.output_audio.delta"), len(answer))
                assert find(answer, seen).likeness > 0.99, "it is what the page is sent, to the sample"
                heard = decode(base64.b64decode(await page.evaluate("return await recorded()")))
                assert likeness_in_pieces(answer, heard) > LEAST_LIKENESS

                await page.evaluate("send({type: 'session.input_audio.mute', event_id: 'hush'})")
                await page.wait_for("count('session.input_audio.muted') === 1")
                begin = len(side.of("session.input_audio.append"))
                await page.evaluate("await say('name')")
                await side.until(
                    "session.input_audio.append", 10 + len(side.of("session.input_audio.append"))
                )
                seen = side.audio("session.input_audio.append", begin)
                assert likeness_in_pieces(NAME[WORDS:], seen) > LEAST_LIKENESS, "the server hears it"

                await page.evaluate("send({type: 'session.input_audio.unmute'}); await say('name')")
                await page.wait_for("count('session.output_transcript.delta') === 2", PATIENCE_S)
                await page.evaluate("send({type: 'session.close', event_id: 'bye'})")
                await side.until("session.closed")
            await page.wait_for("voxpop.connection.some(([type]) => type === 'closed')", 5)
            told = judge(await page.evaluate("return received"), LIVE)
            assert [event.type for event in told] == await page.evaluate("return voxpop.types")
            judge_page(told, side)
            kinds = [kind for kind, _ in await page.evaluate("return voxpop.connection")]
            assert kinds[:2] == ["state.changed", "state.changed"]
            assert kinds[-1] == "closed"

    asyncio.run(scenario())


def dialogue(told: list[Any]) -> list[tuple[str, str]]:
    """As the package's helper makes it of fragments: who has said what, and why that was over."""
    closed: list[TranscriptSegmentClosedEvent] = []
    with TranscriptGrouper() as grouper:
        grouper.on("segment.closed", closed.append)
        for event in told:
            grouper.push(event)
    assert "timestamp_reset" not in [event.reason for event in closed]
    return [(event.segment.speaker, event.segment.text) for event in closed]


def judge_page(told: list[Any], side: Side) -> None:
    """What a page is told of two turns, one of which it was muted in between; its server is told as much."""
    assert [event.type for event in told] == [
        "session.started",
        "session.input_transcript.delta",
        "session.output_transcript.delta",
        "session.input_audio.muted",
        "session.input_audio.unmuted",
        "session.input_transcript.delta",
        "session.output_transcript.delta",
        "session.closed",
    ]
    heard = [event for event in told if event.type == "session.input_transcript.delta"]
    said = [event for event in told if event.type == "session.output_transcript.delta"]
    assert [event.delta for event in said] == ["Hello, Robert."] * 2
    for one, other in zip(heard, said, strict=True):
        assert "robert" in one.delta
        assert 1000 < one.end_ms - one.start_ms < 4000
        assert one.end_ms <= other.start_ms <= other.end_ms
    assert dialogue(told) == [
        (who, text)
        for one, other in zip(heard, said, strict=True)
        for who, text in (("user", one.delta), ("assistant", other.delta))
    ]
    assert [event.client_event_id for event in told if event.type != "session.started"][2] == "hush"
    assert (told[-1].reason, told[-1].client_event_id) == ("close_requested", "bye")
    assert told[-1].usage.seconds >= 3
    seen = [event.event_id for event in side.events if "audio." not in event.type or "mute" in event.type]
    assert seen == [event.event_id for event in told]


class ByPackage(SignalingClient):
    """Our caller, whose sessions the package makes."""

    def __init__(self, http: aiohttp.ClientSession, front: Front, here: AsyncOpenAI, session: Any) -> None:
        super().__init__(http, URL(f"{front.url}/live/sessions"), front.key)
        self._where, self._here, self._session = f"{front.url}/live/sessions", here, session

    async def place(self, offer_sdp: str, session: Mapping[str, object]) -> Placed:
        made = await self._here.live.create(
            session=self._session, transport={"type": "webrtc", "sdp": offer_sdp}
        )
        return Placed(made.transport.sdp, URL(f"{self._where}/{made.session.id}"))


class Talk:
    """A call of ours, every event of which the types have judged."""

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def events(self) -> list[Any]:
        return judge((json.dumps(heard.event) for heard in self._call.record.events), LIVE)

    def send(self, kind: str, **members: object) -> None:
        assert self._call.transport is not None
        assert self._call.transport.send_event(json.dumps({"type": kind, "event_id": kind, **members}))

    async def answer_to(self, kind: str) -> Any:
        """The event that names ours."""
        return await self._found(lambda event: getattr(event, "client_event_id", None) == kind)

    async def first(self, kind: str) -> Any:
        return await self._found(lambda event: event.type == kind)

    async def _found(self, matches: Callable[[Any], bool]) -> Any:
        await until(lambda: any(map(matches, self.events)))
        return next(event for event in self.events if matches(event))


@asynccontextmanager
async def talking(front: Front, here: AsyncOpenAI, session: Any) -> AsyncIterator[tuple[Talk, str]]:
    ticker = Ticker()
    async with aiohttp.ClientSession() as http, asyncio.timeout(2 * PATIENCE_S):
        call = Call(ByPackage(http, front, here, session), ticker, Certificate.generate())
        try:
            await call.connect()
            yield Talk(call), str(call.record.session_id)
        finally:
            await call.hang_up()
            ticker.close()


def test_every_event_is_one_of_the_types(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with front(tmp_path, "clerk") as there, there.client() as here:
            async with talking(there, here, {**SESSION, "input": HISTORY}) as (talk, session_id):
                started = (await talk.first("session.started")).session
                assert (started.id, started.model, started.store) == (session_id, "gpt-live-1", False)
                assert started.input[0].content[0].text == "Hello"
                for kind in ("instructions", "thinking", "commentary"):
                    talk.send(f"session.{kind}.append", content="It is raining.", delegation_id=None)
                    appended = await talk.answer_to(f"session.{kind}.append")
                    assert appended.type == f"session.{kind}.appended"
                talk.send("session.update", session={"delegation": {"type": "client"}, "triggers": []})
                assert (await talk.answer_to("session.update")).session.triggers == []
                for kind in ("session.start", "response.create", "decision.create", "nothing"):
                    talk.send(kind)
                    assert (await talk.answer_to(kind)).error.client_event_id == kind
                await here.live.sessions.hangup(session_id)
                assert (await talk.first("session.closed")).reason == "close_requested"
                assert talk.events[0].type == "session.started"
            await limited(there, here)
            await refusals(here, session_id)

    asyncio.run(scenario())


async def limited(there: Front, here: AsyncOpenAI) -> None:
    """A page that may be muted, and nothing else; its server mutes it."""
    lists = {"allowed_client_events": ["session.input_audio.mute"], "allowed_server_events": "all"}
    async with talking(there, here, {**SESSION, "client": {"data_channel": lists}}) as (talk, session_id):
        assert (await talk.first("info")).code == "data_channel_permissions"
        talk.send("session.close")
        assert (await talk.answer_to("session.close")).error.code == "event_not_allowed"
        async with attached(here, session_id) as side:
            await side.until("session.started")
            assert side.events[0].session.client.data_channel.allowed_client_events == [
                "session.input_audio.mute"
            ]
            await side.connection.session.input_audio.mute(event_id="by the server")
            assert (await talk.answer_to("by the server")).type == "session.input_audio.muted"
            await side.connection.session.close()
            await side.until("session.closed")
        assert (await talk.first("session.closed")).reason == "close_requested"


async def refusals(here: AsyncOpenAI, session_id: str) -> None:
    """What nobody here can do, as users of the package see it."""
    with pytest.raises(UnprocessableEntityError, match="not recorded"):
        await here.live.sessions.download_recording(session_id)
    with pytest.raises(UnprocessableEntityError, match="not recorded"):
        await here.live.sessions.fork(session_id, transport={"type": "webrtc", "sdp": "x"})
    with pytest.raises(UnprocessableEntityError, match="SIP"):
        await here.live.sessions.refer(session_id, target_uri="tel:+14155550123")
    async with here.live.connect() as primary:
        await primary.session.start(session=SESSION, event_id="mine")
        error = judged((await primary.recv_bytes()).decode(), PRIMARY).error
        assert (error.code, error.client_event_id) == ("not_supported", "mine")
        assert "WebRTC" in error.message
