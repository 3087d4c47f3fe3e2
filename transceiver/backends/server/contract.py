"""What a backend has to be for this server to serve it.

The server speaks the protocol: it reads events, cuts audio into frames, keeps the settings and the items of
the conversation, numbers and sends events. A session hears, and answers through its `Client`. Everything of
a process is called from the thread of its event loop.
"""

from __future__ import annotations

from typing import Protocol

from transceiver.backends.server.client import Client
from transceiver.realtime.event import Event
from transceiver.realtime.settings import SessionSettings


class ServedSession(Protocol):
    """One client's counterpart. What any of these raises ends the connection, as crashed; the log has it."""

    def configure(self, settings: SessionSettings) -> SessionSettings:
        """The settings that will be in force, of those that are wanted: once before the client is told of
        its session, and for each `session.update`. Raises ConfigError when they are not acceptable; what was
        in force stays.
        """

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """20 ms of the client: `media.FRAME_BYTES` of PCM, as fast as they come and in their order."""

    def receive_event(self, event: Event) -> None:
        """An event that is for the backend to act on: `FOR_SESSIONS` has the types."""

    async def run(self) -> None:
        """The session's own work, beside the connection. Cancelled when the client goes; whoever returns
        hangs up.
        """

    def close(self) -> None:
        """The client is gone; nothing is called after this."""


FOR_SESSIONS = (
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "response.create",
    "response.cancel",
)
"""An item that a client creates is in the conversation already, has its id, and was acknowledged."""


class ServedBackend(Protocol):
    """What one process has of a backend."""

    async def start(self) -> None:
        """Open what all sessions share; nobody is served before this returns. Raises
        `core.errors.UnavailableError`.
        """

    def create(self, client: Client) -> ServedSession:
        """The session of a client that has just connected."""

    async def close(self) -> None:
        """Let go of everything, after the last session."""
