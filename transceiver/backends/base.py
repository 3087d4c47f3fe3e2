"""What stands behind a session: something that hears the caller, and answers. docs/backends.md has one whole.

A backend is three things. Its `BackendType` is what an entry point names: which settings it has, and what
to build of them. A `BackendFactory` lives as long as a process does and has what its sessions share, such
as connections. A `Backend` is one session's.

A session drives its backend by the 20 ms clock and never waits for it. What talks to another process
keeps bounded buffers of its own. Everything of a process is called from one thread, that of its event
loop, in which a backend may run tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from transceiver.observer import EndReason, Observer
from transceiver.realtime.event import EmitEvent, Event
from transceiver.turns.budget import NO_WAY, Way

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What a backend is told of the session that it is to answer. It may grow."""

    session_id: str
    settings: Event
    """The `session` object of the signaling request, possibly empty. A stranger wrote it."""
    emit: EmitEvent
    """Sends an event to the client; drops it, counted, while the channel is not open or full."""
    observer: Observer
    """Is told of turns; `transceiver.turns.budget` has how."""
    end: Callable[[EndReason], None]
    """Ends the session, `close` included, before it returns: for a backend that cannot go on. Not to be
    called from `hear`, `speak` or before `create` has returned.
    """
    way: Way = NO_WAY
    """For the budget of turns: how the frame that is heard has come, and how what is spoken goes."""


class Backend(Protocol):
    """One session's counterpart. What `hear` or `speak` raises ends the session as crashed; what is raised
    elsewhere is logged. Other sessions do not notice.

    Nothing of it knows of turns. A full-duplex backend speaks while it hears, and sends no events of turns;
    one that writes transcripts adds `start_ms` and `end_ms` to their deltas, milliseconds from its first
    `hear`. Events are the Realtime protocol's, whatever the session's client speaks.
    """

    def opened(self) -> None:
        """Somebody expects `session.created` as first event: the client's event channel has opened, for the
        first time or anew after it was closed, or a sideband watches a session that has had none yet.
        """

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """20 ms of the caller: `media.FRAME_BYTES` of PCM, decoded or concealed. Called every 20 ms
        from the first received audio on, silence included.
        """

    def speak(self, now_ns: int) -> bytes | None:
        """20 ms for the caller, `media.FRAME_BYTES` of PCM; None when there is nothing to say. Called
        every 20 ms, right after `hear` where there is something to hear.
        """

    def receive_event(self, event: Event) -> None:
        """An event of the client, or of a sideband. What it does not understand is answered with an `error`
        event.
        """

    def close(self) -> None:
        """The session has ended; nothing is called after this."""


class BackendFactory(Protocol):
    """What one process has of a backend."""

    async def start(self) -> None:
        """Open what all sessions share; the process takes no calls before this returns. Raises
        `core.errors.UnavailableError` when there is no use in taking any.
        """

    def create(self, context: SessionContext) -> Backend:
        """The backend of a new session. Raises `core.errors.ConfigError` when `context.settings` are not
        acceptable; the call is then refused with 400.
        """

    async def close(self) -> None:
        """Let go of everything. Called once, after the last session has been closed, even if `start`
        has failed. A process does not wait for it for long.
        """


@runtime_checkable
class SettingsJudge(Protocol):
    """What a `BackendFactory` may be besides: one that can say of settings, before there is a call, whether
    `create` would take them. Client secrets with settings that it would not take are refused.
    """

    def judge(self, settings: Event) -> None:
        """Raises `core.errors.ConfigError`, with what `create` would say."""


@dataclass(frozen=True, slots=True)
class BackendType(Generic[S]):
    """What an entry point of the group `voxpop.backends` names."""

    settings: type[S]
    """A dataclass whose fields are each a `core.schema.setting`: what [backend.NAME] may have."""
    build: Callable[[S], BackendFactory]
    """Makes the process's factory; opens nothing yet, for `start` does."""


AnyBackendType = BackendType[Any]
