"""The HTTP client by which a supervisor asks others how they are: one, for all whom it asks, for its life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=1.0)
MAX_BYTES = 16_384


class Status(NamedTuple):
    """What was answered."""

    code: int
    date: str | None
    """Its `Date`, if there was one."""
    body: bytes
    """No more than `MAX_BYTES` of it."""


class StatusClient:
    """Connections are kept from one question to the next: those to other regions have TLS."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None
        """None before the first question: there is no event loop yet."""

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Status:
        """The answer, which no redirection leads elsewhere, within a second. Raises ClientError, OSError,
        TimeoutError.
        """
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        async with self._client.get(url, headers=headers, allow_redirects=False) as response:
            body = bytearray()
            while len(body) < MAX_BYTES and (part := await response.content.read(MAX_BYTES - len(body))):
                body += part  # as it comes: a part may be all of it, or not
            if not response.content.at_eof():
                response.close()  # what is left of it is of no use, and may have no end
            return Status(response.status, response.headers.get("Date"), bytes(body))

    async def close(self) -> None:
        """Let go of all connections; the next question opens another. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
