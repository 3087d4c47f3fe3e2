"""A whole call: signaling, transport, conversation, hang-up."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from yarl import URL

from core.errors import SdpError
from transceiver.caller.api import Placed, Pop, SignalingClient
from transceiver.caller.conversation import Conversation, Phase
from transceiver.caller.credentials import fresh_credentials
from transceiver.caller.errors import CallError, Stage
from transceiver.caller.failures import describe_unusable_untrusted, printable_untrusted
from transceiver.caller.ice import Nomination
from transceiver.caller.limits import MAX_RECORDED_SECONDS
from transceiver.caller.recovery import keep_connected
from transceiver.caller.sound import SILENCE
from transceiver.caller.steering import SteeringReport, parse_steering_untrusted
from transceiver.caller.transport import Transport
from transceiver.media import FRAME_MS
from transceiver.media.ticker import Handle, Ticker
from transceiver.realtime import errors
from transceiver.sdp import LocalDescription, build_offer, parse_answer_untrusted
from transceiver.transport.certificate import Certificate

SETUP_TIMEOUT_S = 15.0
"""From the answer to the first audio; each stage is expected to take milliseconds."""
MAX_EVENTS = 10_000
MAX_HEARD_FRAMES = MAX_RECORDED_SECONDS * 1000 // FRAME_MS


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """An event of the server, and when it came."""

    at_ns: int
    event: Mapping[str, object]

    @property
    def type(self) -> str:
        """What it is called in the Realtime protocol."""
        return str(self.event.get("type"))


@dataclass(slots=True)
class Record:
    """What happened, as far as it happened."""

    offered_ns: int | None = None
    answered_ns: int | None = None
    heard: list[bytes] = field(default_factory=list, repr=False)
    """What came out of the jitter buffer since the keys came, every 20 ms."""
    events: list[HeardEvent] = field(default_factory=list, repr=False)
    pop: Pop | None = None
    session_id: str | None = None
    ice_lite: bool | None = None
    steering: SteeringReport | None = None
    """What the server says of the PoPs that it has named."""
    referred_to: URL | None = None
    """Where another server has answered than was asked."""


class Call:
    """One call. `connect`, then `converse` or `run_for`, then always `hang_up`."""

    def __init__(
        self,
        api: SignalingClient,
        ticker: Ticker,
        certificate: Certificate,
        *,
        session: Mapping[str, object] | None = None,
        nomination: Nomination = Nomination.ALWAYS,
        heard_frames: int = MAX_HEARD_FRAMES,
    ) -> None:
        """`session`: settings of the agent, as in the Realtime API. `heard_frames`: how many of what is heard
        are kept on record, from the first.
        """
        self._api = api
        self._ticker = ticker
        self._certificate = certificate
        self._session = session or {}
        self._nomination = nomination
        self._heard_frames = heard_frames
        self._placed: Placed | None = None
        self._handle: Handle | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.conversation: Conversation | None = None
        """None before `converse`."""
        self._conversed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Transport | None = None
        self.record = Record()

    async def connect(self) -> None:
        """Returns with the first authentic audio. Raises CallError."""
        local = describe(self._certificate)
        self.record.offered_ns = time.monotonic_ns()
        self._placed = await self._api.place(build_offer(local), self._session)
        try:
            answer = parse_answer_untrusted(self._placed.answer_sdp)
        except SdpError as error:
            words = describe_unusable_untrusted(
                self._placed.answer_sdp, self._placed.content_type, error.detail
            )
            raise CallError(Stage.SIGNALING, words) from None
        self.record.answered_ns = time.monotonic_ns()
        self.record.steering = parse_steering_untrusted(self._placed.steering)
        self.record.referred_to = self._placed.referred_to
        self.record.ice_lite = answer.ice_lite
        if self._placed.location is not None:
            self.record.session_id = self._placed.location.name
        if not answer.ice_lite:
            raise CallError(
                Stage.ICE, "the answer has no a=ice-lite, and this client calls lite servers only"
            )
        self.transport = Transport(local, answer, self._certificate, self._nomination, self._hear_event)
        self.transport.start()
        self._handle = self._ticker.add(self._tick)
        if self._placed.location is not None:
            keeping = keep_connected(self._api, self._placed.location, local, self.transport)
            self._keeper = asyncio.create_task(keeping)
        await self._first_audio(self.transport)

    async def _first_audio(self, transport: Transport) -> None:
        try:
            async with asyncio.timeout(SETUP_TIMEOUT_S):
                await asyncio.shield(transport.ready)
        except TimeoutError:
            raise CallError(transport.stage, f"not through within {SETUP_TIMEOUT_S:g} s") from None

    async def converse(
        self, recording: Sequence[bytes], turns: int | None, seconds: float | None = None
    ) -> None:
        """Play the recording `turns` times, hearing each answer out; stop after `seconds` whatever happens.

        Raises CallError when the call breaks off.
        """
        self._conversed = asyncio.get_running_loop().create_future()
        self.conversation = Conversation(recording, turns)
        await self._until(self._conversed, seconds)

    async def run_for(self, seconds: float) -> None:
        """Stay in the call. Raises CallError when it breaks off."""
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._until(never, seconds)

    async def _until(self, done: asyncio.Future[None], seconds: float | None) -> None:
        assert self.transport is not None
        ended = self.transport.ended
        either: set[asyncio.Future[None] | asyncio.Future[str]] = {done, ended}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not done.done():
            raise CallError(Stage.CONVERSATION, f"the call broke off: {ended.result()}")

    async def look_up_pop(self) -> None:
        """Ask the server what it says about the PoP in use."""
        if self.transport is not None and self.transport.ice.selected is not None:
            self.record.pop = await self._api.pop_of(self.transport.ice.selected)

    async def hang_up(self) -> bool:
        """DELETE the call and free everything; whether the server took it. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        placed, self._placed = self._placed, None
        keeper, self._keeper = self._keeper, None
        try:
            if keeper is not None:
                await _ended(keeper)
            if placed is None or placed.location is None:
                return False
            return await self._api.hang_up(placed.location)
        finally:
            if self.transport is not None:
                await self.transport.close()

    def _tick(self, now_ns: int) -> None:
        assert self.transport is not None
        if self.transport.path is None:
            return
        try:
            self._exchange(self.transport, now_ns)
        except Exception as error:
            self.transport.end(f"this client crashed: {type(error).__name__}")
            raise  # the clock lets go of us, and reports it
        if self.conversation is not None and self.conversation.phase is Phase.OVER:
            self._finish()

    def _exchange(self, transport: Transport, now_ns: int) -> None:
        heard = transport.hear(now_ns)
        if len(self.record.heard) < self._heard_frames:
            self.record.heard.append(heard or SILENCE)
        arrived_ns = None if transport.path is None else transport.path.arrived_ns
        saying = None if self.conversation is None else self.conversation.tick(heard, now_ns, arrived_ns)
        transport.say(saying, now_ns)

    def _finish(self) -> None:
        if not self._conversed.done():
            self._conversed.set_result(None)

    def _hear_event(self, text: str) -> None:
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict) and len(self.record.events) < MAX_EVENTS:
            self.record.events.append(HeardEvent(time.monotonic_ns(), event))
            words = _last_words_untrusted(event)
            if words is not None and self.transport is not None:
                self.transport.end(words)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it. Raises what it failed with before."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


def _last_words_untrusted(event: Mapping[str, object]) -> str | None:
    """Why the server ends the session, if that is what the event says."""
    error = event.get("error")
    if not isinstance(error, dict) or error.get("code") not in errors.FINAL_CODES:
        return None
    return f"{printable_untrusted(str(error.get('message')))} ({error['code']})"


def describe(certificate: Certificate) -> LocalDescription:
    """Fresh credentials, no candidates: a lite server learns where we are from our checks."""
    return LocalDescription(
        **fresh_credentials(),
        fingerprint=certificate.fingerprint,
        setup="actpass",
        candidates=(),
        ssrc=secrets.randbits(32),
        cname=secrets.token_urlsafe(12),
        stream_id=secrets.token_urlsafe(12),
        track_id=secrets.token_urlsafe(12),
        session_version=1,
    )
