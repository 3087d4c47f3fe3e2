"""Calls by our caller to a real host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.net import PATIENCE_S
from transceiver.caller.api import SignalingClient
from transceiver.caller.call import Call
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate


@asynccontextmanager
async def calling(host: Host, patience_s: float = PATIENCE_S) -> AsyncIterator[Call]:
    """A client in the middle of a call, which is over within that time."""
    ticker = Ticker()
    async with aiohttp.ClientSession() as http, asyncio.timeout(patience_s):
        api = SignalingClient(http, URL(f"http://127.0.0.1:{host.http}{CALLS}"), host.keys["alice"])
        call = Call(api, ticker, Certificate.generate())
        try:
            await call.connect()
            yield call
        finally:
            await call.hang_up()
            ticker.close()
