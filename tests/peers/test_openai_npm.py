"""The `openai` packages of npm and PyPI: a page's connection by one, its call made by either on a server, and
steered by either from the side. Only base URLs are set.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI

from tests.browser.driver import Browser
from tests.certificates import self_signed
from tests.decoding import decode
from tests.peers.front import Front
from tests.peers.judge import judge, judged
from tests.peers.packages import script, visiting
from tests.peers.test_agents_npm import LEAST_LIKENESS, NOTICE_S, spoken
from tests.peers.tls import tls_before
from tests.sound import likeness_in_pieces
from tests.transceiver.backends.clerk.kit import words

pytestmark = pytest.mark.browser

PATIENCE_S = 30
TRANSCRIPT = "response.output_audio_transcript.done"
SESSION: Any = {"type": "realtime", "instructions": "Set by the server."}
SOUNDS = {"name": words("call me robert")}
Made = tuple[str, str]
"""An answer, and the Location of its call."""


@dataclass
class Server:
    """An application's server: makes calls for pages, hangs them up."""

    front: Front
    client: AsyncOpenAI

    async def npm(self, offer: str, session: Any) -> Made:
        made = await script("calls.js", self._environment(VERB="create", OFFER=offer, SESSION=session))
        return made["answer"], made["location"]

    async def pypi(self, offer: str, session: Any) -> Made:
        options = {} if session is None else {"session": session}
        made = await self.client.realtime.calls.create(sdp=offer, **options)
        return made.text, made.response.headers["location"]

    async def pypi_before_august(self, offer: str, session: Any) -> Made:
        """What `realtime.calls.create` of 3.3.1 and before sends: JSON."""
        response = await self.client.post(
            "/realtime/calls",
            body={"sdp": offer, "session": session},
            options={"headers": {"Accept": "application/sdp"}},
            cast_to=httpx2.Response,
        )
        return response.text, response.headers["location"]

    async def npm_hangs_up(self, call: str) -> None:
        await script("calls.js", self._environment(VERB="hangup", CALL=call))

    async def pypi_hangs_up(self, call: str) -> None:
        await self.client.realtime.calls.hangup(call)

    def _environment(self, **words: Any) -> dict[str, str]:
        given = {
            name: word if isinstance(word, str) else json.dumps(word) for name, word in words.items() if word
        }
        return {"OPENAI_BASE_URL": self.front.url, "OPENAI_API_KEY": self.front.key, **given}


Make = Callable[[str, Any], Awaitable[Made]]


async def call(page: Browser, make: Make, session: Any) -> str:
    """A call of the page's that its server makes; the id."""
    answer, location = await make(await page.evaluate("return await offer()"), session)
    await page.evaluate(f"await answer({json.dumps(answer)})")
    await page.wait_for("count('session.created') === 1")
    created = judged(await page.evaluate("return received[0]"))
    assert created.session.instructions == ("" if session is None else session["instructions"])
    return location.rpartition("/")[2]


async def until_hung_up(page: Browser) -> None:
    """The page sees at once that its call is over. The only complaint is of that: nothing that came before
    was an `invalid_message`.
    """
    await page.wait_for("voxpop.connection.some(([type]) => type === 'closed')", NOTICE_S)
    told = await page.evaluate("return voxpop.connection")
    assert [kind for kind, _ in told] == ["state.changed", "state.changed", "error", "closed"]
    assert told[2][1].startswith("transport_failed")
    judge(await page.evaluate("return received"))


def test_a_page_connects_by_calls_that_its_server_makes_in_every_form(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with visiting(tmp_path, "openai.js", "clerk", SOUNDS) as (page, front), front.client() as here:
            server = Server(front, here)
            await hears_its_answer(page, server)
            for make, session, hang_up in (
                (server.npm, None, server.npm_hangs_up),
                (server.pypi, SESSION, server.pypi_hangs_up),
                (server.pypi, None, server.pypi_hangs_up),
                (server.pypi_before_august, SESSION, server.npm_hangs_up),
            ):
                await hang_up(await call(page, make, session))
                await until_hung_up(page)

    asyncio.run(scenario())


async def hears_its_answer(page: Browser, server: Server) -> None:
    made = await call(page, server.npm, SESSION)
    await page.evaluate("record(); await say('name')")
    await page.wait_for("count('output_audio_buffer.stopped') === 1", PATIENCE_S)
    heard = decode(base64.b64decode(await page.evaluate("return await recorded()")))
    events = judge(await page.evaluate("return received"))
    (words_told,) = [event.transcript for event in events if event.type == TRANSCRIPT]
    assert words_told == "Hello, Robert."
    assert likeness_in_pieces(await spoken(words_told), heard) > LEAST_LIKENESS
    await server.npm_hangs_up(made)
    await until_hung_up(page)


def test_a_running_call_is_steered_from_the_side(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with visiting(tmp_path, "openai.js", "clerk", {}) as (page, front), front.client() as here:
            made = await call(page, Server(front, here).pypi, None)
            await steers_by_pypi(page, here, made)
            await steers_by_npm(page, front, tmp_path, made)
            await page.evaluate("close()")

    asyncio.run(scenario())


async def steers_by_pypi(page: Browser, client: AsyncOpenAI, made: str) -> None:
    """What it does, the page sees and hears."""
    async with client.realtime.connect(call_id=made) as side, asyncio.timeout(PATIENCE_S):
        assert judged((await side.recv_bytes()).decode()).type == "session.created"
        await side.session.update(session={"type": "realtime", "instructions": "By the server."})
        event = await _until(side, "session.updated")
        assert event.session.instructions == "By the server."
        await page.evaluate("record()")
        part: Any = {"type": "input_text", "text": "repeat seven elephant"}
        await side.conversation.item.create(item={"type": "message", "role": "user", "content": [part]})
        await side.response.create()
        assert (await _until(side, "response.done")).response.status == "completed"
        await _until(side, "output_audio_buffer.stopped")
    await page.wait_for("count('output_audio_buffer.stopped') === 1")
    heard = decode(base64.b64decode(await page.evaluate("return await recorded()")))
    assert likeness_in_pieces(await spoken("Seven elephant."), heard) > LEAST_LIKENESS
    updated = [
        event for event in judge(await page.evaluate("return received")) if event.type == "session.updated"
    ]
    assert updated[-1].session.instructions == "By the server."


async def _until(side: Any, kind: str) -> Any:
    """The next event of a type; all are judged."""
    while (event := judged((await side.recv_bytes()).decode())).type != kind:
        pass
    return event


async def steers_by_npm(page: Browser, front: Front, folder: Path, made: str) -> None:
    """This package insists on TLS, as it is at a proxy in front."""
    certificate, key = self_signed(folder)
    async with tls_before(front.plan.http, certificate, key) as secure:
        environment = {
            "OPENAI_BASE_URL": f"https://{secure}/v1",
            "OPENAI_API_KEY": front.key,
            "NODE_EXTRA_CA_CERTS": str(certificate),
            "CALL": made,
            "TEXT": "repeat yellow umbrella",
        }
        told = await script("sideband.js", environment)
    judge(told["raw"])
    assert told["seen"][:2] == ["session.created", "session.updated"]
    events = judge(await page.evaluate("return received"))
    transcripts = [event.transcript for event in events if event.type == TRANSCRIPT]
    assert transcripts == ["Seven elephant.", "Yellow umbrella."]
