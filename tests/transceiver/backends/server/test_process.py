"""The verb as a process: its port, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.processes import end
from tests.rights import only, rights
from tests.transceiver.backends.server.kit import PATIENCE_S, parrots, serving, talking
from transceiver.signaling.apikeys import create_api_key

VERB = (sys.executable, "-m", "voxpop", "backend", "parrot", "--listen", "127.0.0.1:0")

NOBODY = 65534


@contextlib.contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One that is up, and its URL."""
    with subprocess.Popen(
        [*VERB, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            assert started.stdout is not None
            url = started.stdout.readline().strip()
            assert url.startswith("ws://127.0.0.1:"), url
            yield started, url
        finally:
            end(started, signal.SIGKILL)


async def ended(started: subprocess.Popen[str]) -> int:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.to_thread(started.wait)


def test_a_sigterm_lets_clients_finish_and_takes_no_more() -> None:
    async def scenario(started: subprocess.Popen[str], url: str) -> None:
        async with talking(url) as talk:
            await talk.until("session.created")
            started.send_signal(signal.SIGTERM)
            probe = url.replace("ws:", "http:").replace("/v1/realtime", "/readyz")
            async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
                while (await http.get(probe)).status == 200:
                    pass
            await talk.ask("session.update", "session.updated", session={"type": "realtime"})
        assert await ended(started) == 0

    with process() as (started, url):
        asyncio.run(scenario(started, url))


@pytest.mark.parametrize(
    ("number", "options", "status"), [(signal.SIGINT, (), 130), (signal.SIGTERM, ("--drain-timeout", "0"), 0)]
)
def test_who_is_still_there_at_the_end_is_told_why(
    number: signal.Signals, options: tuple[str, ...], status: int
) -> None:
    async def scenario(started: subprocess.Popen[str], url: str) -> None:
        async with talking(url) as talk:
            await talk.until("session.created")
            started.send_signal(number)
            error = (await talk.until("error"))["error"]
            assert isinstance(error, dict)
            assert error["code"] == "server_shutting_down"
            assert (await talk.socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert talk.socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
        assert await ended(started) == status

    with process(*options) as (started, url):
        asyncio.run(scenario(started, url))


def test_a_sighup_reads_the_keys_again_and_keeps_them_where_they_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "api-keys.toml"
    alice = create_api_key(file, "alice")

    async def said(started: subprocess.Popen[str], words: str) -> None:
        assert started.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while words not in await asyncio.to_thread(started.stderr.readline):
                pass

    async def can_connect(url: str, key: str) -> bool:
        try:
            async with talking(url, headers={"Authorization": f"Bearer {key}"}) as talk:
                await talk.until("session.created")
        except aiohttp.WSServerHandshakeError:
            return False
        return True

    async def scenario(started: subprocess.Popen[str], url: str) -> None:
        assert await can_connect(url, alice)
        bob = create_api_key(file, "bob")
        assert not await can_connect(url, bob)
        started.send_signal(signal.SIGHUP)
        await said(started, "were read again")
        assert await can_connect(url, bob)
        file.write_text("[key.eve]\nsha256 = 'no'\n")
        started.send_signal(signal.SIGHUP)
        await said(started, "stay as they were")
        assert await can_connect(url, alice)
        if os.geteuid() == 0:
            assert rights(started.pid) == only()
            os.chown(file, NOBODY, 0)
            started.send_signal(signal.SIGHUP)
            await said(started, "belongs to nobody, who knows what is in it")

    with process("--api-keys", str(file)) as (started, url):
        asyncio.run(scenario(started, url))


@contextlib.asynccontextmanager
async def held(port: int, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections that say nothing."""
    both = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield [reader for reader, _ in both]
    finally:
        for _, writer in both:
            writer.close()


def test_connections_that_say_nothing_are_bounded_too() -> None:
    async def scenario() -> None:
        async with serving(parrots(), connections=3) as served, held(served.at.port, 5) as readers:
            async with asyncio.timeout(PATIENCE_S):
                for reader in readers[:2]:
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read(1) == b""
            assert not any(reader.at_eof() for reader in readers[2:]), "the idlest have given way"

    asyncio.run(scenario())
