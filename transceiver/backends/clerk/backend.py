"""The clerk as a backend that is served: what its sessions share, and who makes them."""

from __future__ import annotations

from collections.abc import Callable

from transceiver.backends.clerk.recognizer import Recognizers
from transceiver.backends.clerk.session import ClerkSession, Desk
from transceiver.backends.clerk.voice import EspeakVoice
from transceiver.backends.server.client import Client


class Clerks:
    """A `ServedBackend`. At most `recognizers` callers are recognised at the same time."""

    def __init__(self, recognizers: int, clock: Callable[[], int], time_of_day: Callable[[], str]) -> None:
        self._desk = Desk(Recognizers(recognizers), EspeakVoice(), clock, time_of_day)

    async def start(self) -> None:
        """Look for the voice, and start the recognisers. Raises UnavailableError."""
        self._desk.voice.check()
        await self._desk.recognizers.start()

    def create(self, client: Client) -> ClerkSession:
        """One more."""
        return ClerkSession(client, self._desk)

    async def close(self) -> None:
        """End the recognisers."""
        await self._desk.recognizers.close()
