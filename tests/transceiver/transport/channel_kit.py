"""Data channels of a client over a real association, and what goes through them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiortc import RTCDataChannel, RTCDataChannelParameters

from tests.transceiver.net import until
from tests.transceiver.transport.test_peer import Pair, pair
from transceiver.transport.channels import CHANNEL_LABEL
from transceiver.transport.sctp import Association


def clients(both: Pair) -> Association:
    sctp = both.client.peer._sctp
    assert sctp is not None
    return sctp


def servers(both: Pair) -> Association:
    sctp = both.server.peer._sctp
    assert sctp is not None
    return sctp


def make(both: Pair, label: str = CHANNEL_LABEL, **parameters: object) -> tuple[RTCDataChannel, list[str]]:
    channel = RTCDataChannel(clients(both), RTCDataChannelParameters(label=label, **parameters))  # type: ignore[arg-type]
    received: list[str] = []
    channel.on("message", received.append)
    return channel, received


async def is_answered(both: Pair, channel: RTCDataChannel, received: list[str]) -> None:
    """What goes up the channel is heard, and what the server says comes down it."""
    await until(lambda: channel.readyState == "open")
    before = len(both.server.messages)
    channel.send("up")
    await until(lambda: both.server.messages[before:] == ["up"])
    assert both.server.peer.send_message("down")
    await until(lambda: received[-1:] == ["down"])


def scenario(test: Callable[[Pair], Awaitable[None]], label: str | None = CHANNEL_LABEL) -> None:
    async def run() -> None:
        async with pair(label=label) as both:
            both.start()
            await until(lambda: both.server.keys and servers(both).is_established)
            await test(both)

    asyncio.run(run())
