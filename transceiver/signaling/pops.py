"""What callers are told about PoPs: where they are, what forwards there, and whether they are up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import aiohttp

from core.config import PopSettings

STATUS_TIMEOUT = aiohttp.ClientTimeout(total=1.0)
FRESH_NS = 3_000_000_000
MAX_STATUS_BYTES = 16_384
UNKNOWN = "unknown"


class PopDirectory:
    """The configured PoPs with their last known state, asked for when somebody wants to know."""

    def __init__(self, pops: Sequence[PopSettings]) -> None:
        self._pops = tuple(pops)
        self._listing: list[dict[str, object]] = []
        self._stale_at_ns = 0
        self._asking = asyncio.Lock()

    def replace(self, pops: Sequence[PopSettings]) -> None:
        """Take a reloaded configuration."""
        self._pops = tuple(pops)
        self._stale_at_ns = 0

    async def listing(self, now_ns: int) -> list[dict[str, object]]:
        """`{id, vips, forwarder, state}` of each PoP, a few seconds old at most."""
        async with self._asking:  # one round of questions serves everybody who waits
            if now_ns >= self._stale_at_ns:
                async with aiohttp.ClientSession(timeout=STATUS_TIMEOUT) as client:
                    self._listing = await asyncio.gather(*(_describe(client, pop) for pop in self._pops))
                self._stale_at_ns = now_ns + FRESH_NS
            return self._listing


async def _describe(client: aiohttp.ClientSession, pop: PopSettings) -> dict[str, object]:
    status = await _ask(client, pop)
    return {
        "id": pop.id,
        "vips": [str(vip) for vip in pop.vips],
        "forwarder": _word(status.get("forwarder")),
        "state": _word(status.get("state")),
    }


async def _ask(client: aiohttp.ClientSession, pop: PopSettings) -> dict[str, object]:
    """The relay's own words about itself. A draining relay answers 503 with the same object."""
    if pop.status is None:
        return {}
    try:
        async with client.get(f"http://{pop.status}/readyz", allow_redirects=False) as response:
            body = await response.content.read(MAX_STATUS_BYTES)
            response.close()
        return _as_object(body)
    except (aiohttp.ClientError, TimeoutError):
        return {"state": "silent"}


def _as_object(body: bytes) -> dict[str, object]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _word(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 64 else UNKNOWN
