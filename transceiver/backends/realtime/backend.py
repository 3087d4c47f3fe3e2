"""`backend = "realtime"`: sessions that talk to a backend over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from core.errors import ConfigError, UnavailableError
from transceiver.backends.base import SessionContext
from transceiver.backends.realtime.bridge import Bridge
from transceiver.backends.realtime.connection import Dialer
from transceiver.backends.realtime.dialect import Dialect, encode_client_event
from transceiver.backends.realtime.formats import FORMATS
from transceiver.backends.realtime.link import Link
from transceiver.backends.realtime.pool import Pool
from transceiver.backends.realtime.settings import RealtimeSettings
from transceiver.backends.realtime.terms import BridgePlan
from transceiver.observer import BACKEND_LOST, BackendLoss, EndReason
from transceiver.realtime.event import Event
from transceiver.realtime.settings import DEFAULTS, SessionSettings, audio_side
from transceiver.turns.budget import Budgets


class RemoteBackend:
    """The `Backend` of one session. Raises ConfigError for settings that cannot be followed."""

    def __init__(self, context: SessionContext, shared: RemoteBackends) -> None:
        self._context = context
        self._dialect = shared.plan.dialect
        settings = shared.with_transcription(DEFAULTS.updated(context.settings))
        model = shared.choose_model(settings.model)
        self.bridge = Bridge(
            shared.plan,
            context.session_id,
            settings,
            Budgets(context.observer, context.way),
            context.emit,
            self._send,
        )
        self._link = shared.connect(self, context.session_id, model)
        self.bridge.connected()

    # What the session brings

    def opened(self) -> None:
        """The client can be told things."""
        self.bridge.opened()

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """One frame of the caller."""
        self.bridge.hear(pcm, now_ns)

    def speak(self, now_ns: int) -> bytes | None:
        """One frame for the caller."""
        return self.bridge.speak(now_ns)

    def receive_event(self, event: Event) -> None:
        """An event of the client."""
        self.bridge.receive_event(event)

    def close(self) -> None:
        """The session is over, and with it the connection."""
        self._link.close()
        self.bridge.close()

    # What the link brings

    def receive_untrusted(self, event: Event, now_ns: int) -> None:
        """An event of the backend. Raises BackendError."""
        self.bridge.receive_server_event_untrusted(event, now_ns)

    def connected(self) -> None:
        """See CallSide."""
        self.bridge.connected()

    def lost(self, reason: BackendLoss) -> None:
        """See CallSide."""
        self._context.observer.count(BACKEND_LOST, reason)
        self.bridge.lost()

    def gone(self) -> None:
        """See CallSide: without a backend there is no call."""
        self._context.end(EndReason.BACKEND_GONE)

    def _send(self, event: Event) -> None:
        is_audio = event["type"] == "input_audio_buffer.append"
        self._link.send(encode_client_event(event, self._dialect), is_audio)


class RemoteBackends:
    """The `BackendFactory`: the connections of a process."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        self.plan = BridgePlan(
            audio=FORMATS[settings.audio],
            dialect=Dialect(settings.dialect),
            has_own_turns=settings.turns == "backend",
            limit_ms=settings.buffer_s * 1000,
            has_tone=settings.on_loss == "tone",
        )
        """What all sessions have in common."""
        self._dialer = Dialer(settings)
        self._pool: Pool | None = None
        self._links: dict[asyncio.Task[None], Link] = {}

    async def start(self) -> None:
        """Read what files there are, and begin to connect. Raises UnavailableError."""
        try:
            await self._dialer.start()
        except ConfigError as error:
            raise UnavailableError("; ".join(error.problems)) from None
        self._pool = Pool(self._dialer, self.choose_model(None), self._settings.connections)
        self._pool.start()

    def choose_model(self, wanted: str | None) -> str:
        """The backend's name of the model that a client wants. Raises ConfigError where there is none."""
        settings = self._settings
        if wanted is None:
            return settings.model
        if wanted in settings.models:
            return settings.models[wanted]
        if settings.model or not settings.models:
            return settings.model or wanted
        raise ConfigError(["session.model must be one that is served here"])

    def with_transcription(self, settings: SessionSettings) -> SessionSettings:
        """With the model for transcripts, where some are wanted and it is ours to say by which."""
        wanted = audio_side(settings.members, "input").get("transcription")
        model = self._settings.transcription
        if not model or not isinstance(wanted, Mapping) or wanted.get("model") is not None:
            return settings
        return settings.updated({"audio": {"input": {"transcription": {**wanted, "model": model}}}})

    def connect(self, call: RemoteBackend, name: str, model: str) -> Link:
        """A line to the backend for a call."""
        assert self._pool is not None
        settings = self._settings
        link = Link(call, self._pool, name, model, settings.reconnect_s, settings.answer_timeout_s)
        self._links[link.task] = link
        link.task.add_done_callback(self._unlinked)
        return link

    def _unlinked(self, task: asyncio.Task[None]) -> None:
        link = self._links.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            message = {"message": "a session's link to its backend failed", "exception": error}
            task.get_loop().call_exception_handler(message)
            link.give_up()

    def judge(self, settings: Event) -> None:
        """See SettingsJudge."""
        self.choose_model(DEFAULTS.updated(settings).model)

    def create(self, context: SessionContext) -> RemoteBackend:
        """One more. Raises ConfigError."""
        return RemoteBackend(context, self)

    async def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            link.close()
        await asyncio.gather(*self._links, return_exceptions=True)
        if self._pool is not None:
            await self._pool.close()
        await self._dialer.close()
