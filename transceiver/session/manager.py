"""All sessions of one process: taking them in, finding them, and ending them on time."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
from collections import Counter
from operator import attrgetter

from core import token
from core.cluster import Cluster
from core.keyring import Keyring
from core.stun import Message
from core.token import Token
from core.ufrag import shorten
from transceiver.media import path
from transceiver.media.path import PathStats
from transceiver.observer import SESSIONS_MADE, EndReason
from transceiver.realtime import client_events
from transceiver.sdp import LocalDescription, Offer
from transceiver.session.counts import CallCounts
from transceiver.session.gone import Place, turn_away_untrusted
from transceiver.session.ids import Owner, new_session_id
from transceiver.session.request import CallRequest
from transceiver.session.session import Session, Shared
from transceiver.session.state import SessionState
from transceiver.transport.credentials import Credentials

logger = logging.getLogger(__name__)

SESSION_NUMBERS = 1 << 16
SWEEP_NS = 500_000_000
"""How often sessions are asked whether they are over."""
EXPIRY_MARGIN_MIN = 5
"""What a token outlives its session by: clocks of relays that differ, and minutes that are rounded."""
RETRY_AFTER_S = {"full": 5.0, "overloaded": 1.0, "draining": 1.0}
COUNTERS = (*path.COUNTERS, *(f"events_{name}" for name in client_events.COUNTERS))
"""What may be summed over sessions: members of PathStats, and of EventStats with `events_` before."""
_audio_counts = attrgetter(*path.COUNTERS)
_event_counts = attrgetter(*client_events.COUNTERS)


class AdmissionError(Exception):
    """No room for another session: `full`, `overloaded` or `draining`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = RETRY_AFTER_S[reason]


class SessionManager:
    """The sessions of the process with number `index` on its host. Needs a running loop; its clock is the
    ticker of `shared`.
    """

    def __init__(self, shared: Shared, cluster: Cluster, keyring: Keyring, index: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._shared = shared
        self._settings = shared.settings
        self._cluster = cluster
        self.keyring = keyring
        """What tokens are minted with; replaced when keys are reloaded."""
        self._owner = Owner(self._settings.host, index)
        self._sessions: dict[str, Session] = {}
        self._numbers: dict[str, int] = {}
        # Elsewhere after a restart: a token of the same minute must not be minted twice.
        self._next_number = secrets.randbelow(SESSION_NUMBERS)
        self._freeing: set[asyncio.Task[None]] = set()
        self._ended_counts: Counter[str] = Counter()
        self._ended_sessions = 0
        self.counts = CallCounts()
        """Whose the sessions are."""
        self.is_draining = False
        self._sweep_at_ns = 0
        self._tick_handle = shared.ticker.add(self._tick)
        shared.mux.turn_away_untrusted = self._turn_away_untrusted

    # Taking in

    def create(self, request: CallRequest, now_ns: int, now_min: int) -> Session:
        """A session for an offer; `answer` is what its answer says, but for the candidates.
        `now_min` is the wall clock's, minutes since the epoch: what tokens expire by.

        Raises AdmissionError, and ConfigError when the backend does not accept the settings.
        """
        refusal = self.refusal()
        if refusal is not None:
            raise AdmissionError(refusal)
        session_id = new_session_id(self._owner, self._cluster.id, self.keyring, request.api.prefix)
        ufrag = self._mint(now_min)
        answer = self._describe(request.offer, ufrag)
        try:
            session = Session(session_id, request, answer, self._shared, self._ended, now_ns)
        except Exception:
            del self._numbers[ufrag]
            raise
        self._sessions[session_id] = session
        self._shared.mux.register(ufrag, session.contact)
        self.counts.begin(session_id, session.holders)
        self._shared.observer.count(SESSIONS_MADE, request.api.name)
        logger.info("session %s made, ufrag %s", session_id, shorten(ufrag))
        return session

    def refusal(self) -> str | None:
        """Why no session is taken in at the moment: `draining`, `full` or `overloaded`."""
        if self.is_draining:
            return "draining"
        if len(self._sessions) >= self._settings.max_sessions:
            return "full"
        return "overloaded" if self._shared.ticker.lag_ms > self._settings.max_loop_lag_ms else None

    def _mint(self, now_min: int) -> str:
        """A ufrag whose session number no live session of this process has."""
        taken = set(self._numbers.values())
        while self._next_number in taken:
            self._next_number = (self._next_number + 1) % SESSION_NUMBERS
        number, self._next_number = self._next_number, (self._next_number + 1) % SESSION_NUMBERS
        lifetime_min = -(-self._settings.max_session_s // 60) + EXPIRY_MARGIN_MIN
        fields = Token(
            self.keyring.mint_with,
            self._cluster.id,
            self._settings.host,
            self._shared.mux.port,
            token.expiry_after(now_min, lifetime_min),
            number,
        )
        ufrag = token.mint(fields, self.keyring)
        self._numbers[ufrag] = number
        return ufrag

    def _describe(self, offer: Offer, ufrag: str) -> LocalDescription:
        setup = {"active": "passive", "passive": "active"}.get(offer.setup, self._settings.dtls_role)
        return LocalDescription(
            ufrag=ufrag,
            password=self._password(ufrag),
            fingerprint=self._shared.certificate.fingerprint,
            setup=setup,
            candidates=(),
            ssrc=secrets.randbelow((1 << 32) - 1) + 1,
            cname=secrets.token_urlsafe(12),
            stream_id=secrets.token_urlsafe(12),
            track_id=secrets.token_urlsafe(12),
            session_version=0,
        )

    def _password(self, ufrag: str) -> str:
        return self.keyring.ice_password(self.keyring.mint_with, ufrag.encode()).decode()

    # Finding

    def get(self, session_id: str) -> Session | None:
        """The live session with that id."""
        return self._sessions.get(session_id)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def count(self) -> int:
        """Live sessions."""
        return len(self._sessions)

    @property
    def capacity(self) -> int:
        """Live sessions that there may be."""
        return self._settings.max_sessions

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest live session began; None without any."""
        return next((session.created_ns for session in self._sessions.values()), None)

    @property
    def ended(self) -> int:
        """Sessions that there were."""
        return self._ended_sessions

    @property
    def by_state(self) -> dict[str, int]:
        """Live sessions by state, every state named."""
        found = Counter(s.state for s in self._sessions.values())
        return {state.value: found[state] for state in SessionState if state is not SessionState.CLOSED}

    @property
    def audio(self) -> list[PathStats]:
        """The audio of each live session."""
        return [s.audio_stats for s in self._sessions.values()]

    @property
    def totals(self) -> dict[str, int]:
        """`COUNTERS` of all sessions since the start, those that have ended included."""
        totals = Counter(self._ended_counts)
        for session in self._sessions.values():
            totals.update(_counts(session))
        return {name: totals[name] for name in COUNTERS}

    def _turn_away_untrusted(self, message: Message, now_min: int) -> bytes | None:
        place = Place(self._cluster.id, self._settings.host, self._shared.mux.port)
        return turn_away_untrusted(message, self.keyring, place, now_min)

    # ICE restart

    def restart_ice(self, session: Session, remote: Credentials, now_min: int) -> LocalDescription:
        """New credentials for a session, the client's being `remote`; the old ones stay valid until the
        client uses the new. `now_min` is as for `create`.
        """
        ufrag = self._mint(now_min)
        answer = dataclasses.replace(
            session.answer,
            ufrag=ufrag,
            password=self._password(ufrag),
            session_version=session.answer.session_version + 1,
        )
        self._shared.mux.register(ufrag, session.contact)
        self._release(session.restart_ice(answer, remote))
        return answer

    def _release(self, ufrags: list[str]) -> None:
        for ufrag in ufrags:
            self._shared.mux.unregister(ufrag)
            self._numbers.pop(ufrag, None)

    # Ending

    def drain(self) -> None:
        """Take no new sessions; those that exist go on."""
        self.is_draining = True

    def close(self, session: Session, reason: str) -> None:
        """End a session. Idempotent; its addresses are given back at once, its ufrags when it has said
        goodbye: until then nobody is told that there is no such call.
        """
        if self._sessions.pop(session.id, None) is None:
            return
        self._ended_counts.update(_counts(session))
        self._ended_sessions += 1
        self.counts.end(session.id, session.holders)
        ufrags = session.ufrags
        for ufrag in ufrags:
            self._shared.mux.part(ufrag)
        try:
            session.end(reason)
        except Exception as error:  # noqa: BLE001  whatever a backend raises, the next session must end too
            self._loop.call_exception_handler({"message": "a session did not end well", "exception": error})
        task = self._loop.create_task(session.free())
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)
        task.add_done_callback(lambda _: self._release(ufrags))
        self._shared.observer.session_ended(reason)
        logger.info("session %s ended: %s", session.id, reason)

    def end_all(self, reason: str = EndReason.DRAINED) -> None:
        """End every session."""
        for session in list(self._sessions.values()):
            self.close(session, reason)

    async def close_all(self, reason: str = EndReason.DRAINED) -> None:
        """End every session and the manager itself, and wait until nothing is left of them."""
        self.drain()
        self._tick_handle.cancel()
        self.end_all(reason)
        await asyncio.gather(*self._freeing)

    def _ended(self, session: Session, reason: EndReason) -> None:
        self.close(session, reason)

    def _tick(self, now_ns: int) -> None:
        if now_ns >= self._sweep_at_ns:
            self._sweep_at_ns = now_ns + SWEEP_NS
            self._sweep(now_ns)

    def _sweep(self, now_ns: int) -> None:
        for session in list(self._sessions.values()):
            self._release(session.expire(now_ns))
            session.events.refill(now_ns)
            if session.has_arrived:
                self.counts.arrive(session.id, session.holders)
            reason = session.find_end(now_ns)
            if reason is not None:
                self.close(session, reason)


def _counts(session: Session) -> dict[str, int]:
    counted = _audio_counts(session.audio_stats) + _event_counts(session.event_stats)
    return dict(zip(COUNTERS, counted, strict=True))
