"""Who may connect, and what who may not is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import aiohttp
import pytest

from tests.transceiver.backends.server.kit import parrots, serving, talking
from transceiver.backends.server.app import Access

KEY = "vpk_the-one-that-is-right"
KEYS = Access(lambda key: "alice" if key == KEY else None, 8)
OPEN = Access(None, 8)


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [
        ({"Authorization": f"Bearer {KEY}"}, ()),
        ({"Authorization": f"bearer  {KEY}"}, ("realtime",)),
        ({"api-key": KEY}, ()),
        ({}, ("realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1")),
    ],
)
def test_a_key_is_taken_wherever_clients_put_it(
    headers: Mapping[str, str], protocols: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with (
            serving(parrots(), KEYS) as served,
            talking(served.url + "?model=gpt", headers=headers, protocols=protocols) as talk,
        ):
            assert talk.socket.protocol == ("realtime" if protocols else None)
            session = (await talk.until("session.created"))["session"]
            assert isinstance(session, dict)
            assert session["model"] == "gpt"

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert KEY not in caplog.text


def test_keys_are_in_no_log_even_where_no_subprotocol_is_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with (
            serving(parrots(), KEYS) as served,
            talking(served.url, protocols=(f"openai-insecure-api-key.{KEY}",)) as talk,
        ):
            await talk.until("session.created")

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert KEY not in caplog.text


async def refused(url: str, **asked: object) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http:
        response = await http.get(url.replace("ws:", "http:"), **asked)  # type: ignore[arg-type]
        return response.status, (await response.json())["error"]["code"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer vpk_wrong"},
        {"Authorization": KEY},
        {"api-key": "vpk_wrong"},
        {"Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.vpk_wrong"},
    ],
)
def test_who_has_no_key_is_refused(headers: Mapping[str, str]) -> None:
    async def scenario() -> None:
        async with serving(parrots(), KEYS) as served:
            assert await refused(served.url, headers=headers) == (401, "invalid_api_key")

    asyncio.run(scenario())


def test_pages_of_other_sites_cannot_use_a_server_without_keys() -> None:
    async def scenario() -> None:
        async with serving(parrots(), OPEN) as served:
            for origin in (
                "https://evil.example",
                "null",
                "http://localhost.evil.example",
                "http://127.0.0.1@x",
            ):
                assert await refused(served.url, headers={"Origin": origin}) == (403, "foreign_origin")
            async with talking(served.url, headers={"Origin": "http://localhost:8080"}) as talk:
                await talk.until("session.created")

    asyncio.run(scenario())


@pytest.mark.parametrize("query", ["?call_id=rtc_1", "?intent=transcription"])
def test_what_it_does_not_have_is_refused_by_name(query: str) -> None:
    async def scenario() -> None:
        async with serving(parrots(), OPEN) as served:
            assert await refused(served.url + query) == (400, "unsupported_parameter")

    asyncio.run(scenario())


def test_there_are_no_more_sessions_than_it_was_told() -> None:
    async def scenario() -> None:
        async with serving(parrots(), Access(None, 1)) as served:
            probe = f"http://{served.at}/readyz"
            async with aiohttp.ClientSession() as http:
                async with talking(served.url) as talk:
                    await talk.until("session.created")
                    assert await refused(served.url) == (503, "server_full")
                    assert (await http.get(probe)).status == 503
                await served.server.emptied()
                assert (await http.get(probe)).status == 200
            async with talking(served.url) as talk:
                await talk.until("session.created")

    asyncio.run(scenario())


def test_azures_path_and_its_health() -> None:
    async def scenario() -> None:
        async with serving(parrots(), OPEN) as served, aiohttp.ClientSession() as http:
            azure = f"ws://{served.at}/openai/v1/realtime?deployment=mine"
            async with talking(azure) as talk:
                await talk.until("session.created")
                health = await (await http.get(f"http://{served.at}/healthz")).json()
                assert health == {"state": "alive", "sessions": 1}

    asyncio.run(scenario())
