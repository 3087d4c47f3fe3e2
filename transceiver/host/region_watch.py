"""Asks other regions whether they take calls, so that callers are referred only to those that do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import aiohttp

from transceiver.host.status_client import StatusClient

logger = logging.getLogger(__name__)

PAUSE_S = 2.0
"""Between two rounds, whatever the PoPs are asked at."""


class RegionWatch:
    """`transceiver.other_regions`, asked every `PAUSE_S`."""

    def __init__(self, urls: Sequence[str], client: StatusClient) -> None:
        """`client` stays the caller's."""
        self._client = client
        self._is_ready: dict[str, bool | None] = dict.fromkeys(urls)
        """None before the first answer or the lack of one."""

    def replace(self, urls: Sequence[str]) -> None:
        """Take a reloaded configuration."""
        self._is_ready = {url: self._is_ready.get(url) for url in urls}

    @property
    def ready(self) -> list[str]:
        """Those that said at last that they take calls, in their order."""
        return [url for url, is_ready in self._is_ready.items() if is_ready]

    @property
    def states(self) -> dict[str, bool]:
        """By URL, whether it takes calls."""
        return {url: bool(is_ready) for url, is_ready in self._is_ready.items()}

    async def ask(self) -> None:
        """One round, of a second at most."""
        await asyncio.gather(*(self._ask(url) for url in self._is_ready))

    async def _ask(self, url: str) -> None:
        try:
            status = await self._client.get(f"{url}/readyz")
            is_ready, what = status.code == 200, f"/readyz says {status.code}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            is_ready, what = False, f"/readyz: {str(error) or 'no answer'}"
        if url in self._is_ready and is_ready is not self._is_ready[url]:
            self._is_ready[url] = is_ready
            (logger.info if is_ready else logger.warning)("region %s %s", url, what)
