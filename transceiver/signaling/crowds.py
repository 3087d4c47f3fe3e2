"""How many requests one client may have under way, where its connections are a proxy's."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from core.service.connections import source_of
from transceiver.signaling.refusals import HttpReason, Refusal


class Crowds:
    """The clients behind trusted proxies, of one process. Who has nothing under way takes no room here."""

    def __init__(self, most: int) -> None:
        self.most = most
        """Of one address, or one /64 of IPv6. Replaced on reload."""
        self._under_way: Counter[str] = Counter()

    @contextlib.contextmanager
    def counted(self, address: str | None) -> Iterator[None]:
        """While a request is under way; None is counted elsewhere, by its connection. Raises Refusal where
        its client has too many.
        """
        source = source_of(address)
        if source is None:
            yield
            return
        if self._under_way[source] >= self.most:
            what = f"Your address has {self.most} requests under way, as many as it may."
            raise Refusal(429, HttpReason.TOO_MANY_CONNECTIONS, what, {"Retry-After": "1"})
        self._under_way[source] += 1
        try:
            yield
        finally:
            self._under_way[source] -= 1
            if not self._under_way[source]:
                del self._under_way[source]
