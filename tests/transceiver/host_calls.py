"""Calls by our caller to a real host, and hosts for such calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
from yarl import URL

from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.net import PATIENCE_S
from transceiver.caller.api import SignalingClient
from transceiver.caller.call import Call
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate


def calling(host: Host, patience_s: float = PATIENCE_S) -> AbstractAsyncContextManager[Call]:
    """A client in the middle of a call, which is over within that time."""
    return calling_at(f"http://127.0.0.1:{host.http}{CALLS}", host.keys["alice"], patience_s=patience_s)


@asynccontextmanager
async def calling_at(
    url: str, key: str | None, kind: type[SignalingClient] = SignalingClient, patience_s: float = PATIENCE_S
) -> AsyncIterator[Call]:
    """The same, of a client whose offers go to that URL."""
    ticker = Ticker()
    async with aiohttp.ClientSession() as http, asyncio.timeout(patience_s):
        call = Call(kind(http, URL(url), key), ticker, Certificate.generate())
        try:
            await call.connect()
            yield call
        finally:
            await call.hang_up()
            ticker.close()


@asynccontextmanager
async def hosting(folder: Path, url: str, **settings: object) -> AsyncIterator[Host]:
    """A host whose backend is behind a WebSocket at `url`; `settings` are more of `[backend.realtime]`."""
    lines = "".join(f"{key} = {value!r}\n" for key, value in settings.items())
    table = f'[backend.realtime]\nurl = "{url}"\n{lines}'
    host = Host(folder, {"backend": '"realtime"'}, processes=1, tables=table, is_reachable=True)
    await asyncio.to_thread(host.__enter__)
    try:
        yield host
    finally:
        await asyncio.to_thread(host.__exit__, None, None, None)
