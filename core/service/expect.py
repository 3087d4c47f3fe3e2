"""`Expect: 100-continue` (RFC 9110 §10.1.1), answered by who wants the body, when they want it.

aiohttp says 100 as soon as it knows the path, before anybody has looked at who asks and what they may: so a
client that asks first was told to send what was then refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_WAITS: web.RequestKey[bool] = web.RequestKey("waits", bool)
"""Whether the client has sent its header alone, and waits for a word."""

RequestFactory = Callable[
    [RawRequestMessage, StreamReader, web.RequestHandler, AbstractStreamWriter, "asyncio.Task[None]"],
    web.BaseRequest,
]


def deferring(make: RequestFactory) -> RequestFactory:
    """Makes requests as `make` does, whose expectation aiohttp does not see. `read_body_untrusted` meets it;
    one that nobody knows is left to aiohttp, which answers 417.
    """

    def make_deferred(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        # A client of HTTP/1.0 does not know interim answers.
        is_known = message.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        waits = is_known and message.version >= HttpVersion11
        if waits:
            headers = CIMultiDict(message.headers)
            headers.popall(hdrs.EXPECT)
            message = message._replace(headers=CIMultiDictProxy(headers))
        request = make(message, payload, protocol, writer, task)
        request[_WAITS] = waits
        return request

    return make_deferred


async def read_body_untrusted(request: web.BaseRequest) -> bytes:
    """A whole body. A client that waits to be told so is told to send it; one that is sending already need
    not be. Raises what aiohttp's `read` raises.
    """
    if request.get(_WAITS, False) and not request.content.total_bytes and request.transport is not None:
        request.transport.write(CONTINUE)
    return await request.read()
