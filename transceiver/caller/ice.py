"""The ICE of a client that calls a lite server (RFC 8445 §2.5, RFC 7675), sans I/O.

A lite server rates no pairs, so the client needs few checks: it checks the answer's candidates
in their order, the next one when the one before has not answered for a while, as Happy Eyeballs does
(RFC 8305 §5). The first that answers is used at once and nominated with a second check. From then on
checks keep consent; when they go unanswered the other candidates, another PoP say, are tried again
beside the one in use. That is also the time for an ICE restart (RFC 8445 §9), by which every candidate is
checked anew while packets still go to the one in use.

    checking ──first answer──▶ connected ──30 s without an answer──▶ failed
        └──────10 s without an answer, or nothing reachable──────────▶
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

from core import stun
from core.addr import Endpoint
from core.errors import StunError

MAX_CANDIDATES = 8
MS = 1_000_000
ATTEMPT_DELAY_NS = 250 * MS
"""How long a candidate has the field to itself (RFC 8305 §5)."""
RETRANSMIT_NS = (100 * MS, 200 * MS, 400 * MS, 800 * MS)
"""Pauses between unanswered checks of a candidate; the last one repeats."""
ESTABLISH_NS = 10_000 * MS
CONSENT_INTERVAL_NS = 2_500 * MS
"""On average; each is drawn from 0.8 to 1.2 times this (RFC 7675 §5.1)."""
UNANSWERED_INTERVAL_NS = 1_000 * MS
SEARCH_AFTER_NS = 5_000 * MS
"""Without an answer for so long, the other candidates are tried too."""
QUIET_NS, SILENT_NS = 1_500 * MS, 2_500 * MS
"""Where media came and stops, a check goes out after the first of these. When nothing at all has come for the
second, the other candidates are tried too. Chromium takes a way for lost after 2.5 s as well.
"""
CONSENT_TIMEOUT_NS = 30_000 * MS
TRANSACTION_LIFETIME_NS = 5_000 * MS
PEER_REFLEXIVE_PRIORITY = 110 << 24 | 0xFFFF << 8 | 255
"""RFC 8445 §5.1.2.1, component 1."""
NEVER = 1 << 63


class IceState(Enum):
    """Where the client stands."""

    CHECKING = "checking"
    CONNECTED = "connected"
    FAILED = "failed"


class Nomination(Enum):
    """Which checks carry USE-CANDIDATE after the pair is in use; browsers differ."""

    ALWAYS = "always"
    """Every check, as Chromium does."""
    ONCE = "once"
    """Until the first that is answered, as Firefox does."""


FORBIDDEN = 403
"""The call is gone from the transceiver."""


class CheckOutcome(StrEnum):
    """What a datagram came to."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """An authentic error response."""
    IGNORED = "ignored"
    """Not an authentic answer to a check of ours."""


@dataclass(slots=True)
class _Candidate:
    endpoint: Endpoint
    next_ns: int = NEVER
    attempts: int = 0
    nominated: bool = False
    usable: bool = True


@dataclass(frozen=True, slots=True)
class _Check:
    candidate: _Candidate
    sent_ns: int
    nominates: bool


class IceClient:
    """Checks of one call. `poll` whenever `next_ns` has come; hand every STUN datagram in."""

    def __init__(
        self,
        username: str,
        password: str,
        candidates: Sequence[Endpoint],
        now_ns: int,
        nomination: Nomination = Nomination.ALWAYS,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`username` is `theirs:ours` (RFC 8445 §7.2.2), `password` theirs, `candidates` best first."""
        self._username = username.encode()
        self._password = password.encode()
        self._nomination = nomination
        self._entropy = entropy
        self._tie_breaker = entropy(8)
        self._pending: dict[bytes, _Check] = {}
        self._candidates = [_Candidate(e) for e in dict.fromkeys(candidates[:MAX_CANDIDATES])]
        self._selected: _Candidate | None = None
        self._searching = False
        self._answered_ns = now_ns
        self._heard_ns: int | None = None
        self._asks_why_quiet = False
        self.state = IceState.CHECKING
        self.is_gone = False
        """Whether the transceiver has said that it has no such call."""
        self.rtt_ns: int | None = None
        """Round trip of the latest answered check, by way of the relay and the transceiver."""
        self.reflexive: Endpoint | None = None
        """Our address as the server sees it, which is the relay's upstream address."""
        self._search(now_ns)

    @property
    def selected(self) -> Endpoint | None:
        """The server's candidate in use."""
        return None if self._selected is None else self._selected.endpoint

    @property
    def is_disconnected(self) -> bool:
        """Whether the way that was in use seems to be lost; consent may still last."""
        return self._selected is not None and self._searching and self.state is IceState.CONNECTED

    def restart(self, username: str, password: str, candidates: Sequence[Endpoint], now_ns: int) -> None:
        """Check these candidates with these credentials, as in the constructor. Answers to older checks come
        to nothing from now on. When consent ends is as before: a restart is no sign of life.
        """
        self._username = username.encode()
        self._password = password.encode()
        self._pending.clear()
        self._candidates = [_Candidate(e) for e in dict.fromkeys(candidates[:MAX_CANDIDATES])]
        self._search(now_ns)

    @property
    def next_ns(self) -> int:
        """When `poll` has something to do."""
        if self.state is IceState.FAILED:
            return NEVER
        return min((self._deadline_ns, self._quiet_ns, *(c.next_ns for c in self._candidates)))

    @property
    def _deadline_ns(self) -> int:
        """When the present state ends unless an answer comes."""
        if self._selected is None:
            return self._answered_ns + ESTABLISH_NS
        if self._searching:
            return self._answered_ns + CONSENT_TIMEOUT_NS
        deadline_ns = self._answered_ns + SEARCH_AFTER_NS
        if self._heard_ns is None:
            return deadline_ns
        return min(deadline_ns, max(self._heard_ns, self._answered_ns) + SILENT_NS)

    @property
    def _quiet_ns(self) -> int:
        """When it is time to ask why no media comes."""
        if self._heard_ns is None or self._searching or self._asks_why_quiet:
            return NEVER
        return max(self._heard_ns, self._answered_ns) + QUIET_NS

    def hear(self, now_ns: int) -> None:
        """Authentic media came: it is the quicker sign of life, and its end that of trouble."""
        self._heard_ns = now_ns
        self._asks_why_quiet = False

    def poll(self, now_ns: int) -> list[tuple[Endpoint, bytes]]:
        """The checks that are due, each with the candidate that it goes to."""
        if self.state is IceState.FAILED:
            return []
        if now_ns >= self._deadline_ns:
            if self._selected is None or self._searching:
                self.state = IceState.FAILED
                return []
            self._search(now_ns)
        if now_ns >= self._quiet_ns and self._selected is not None:
            self._asks_why_quiet = True
            self._selected.next_ns = min(self._selected.next_ns, now_ns)
        self._forget(now_ns)
        return [(c.endpoint, self._check(c, now_ns)) for c in self._candidates if c.next_ns <= now_ns]

    def unreachable(self, endpoint: Endpoint, now_ns: int) -> None:
        """There is no route from here, to IPv6 from an IPv4 network say: the next candidate takes over.

        Once there was a way, the interface may come back, or another: then no candidate is given up.
        """
        if self._selected is not None:
            if endpoint == self._selected.endpoint and not self._searching:
                self._search(now_ns)
            return
        for candidate in self._candidates:
            if candidate.endpoint == endpoint:
                candidate.usable = False
                candidate.next_ns = NEVER
        self._hurry(now_ns)

    def receive_untrusted(self, data: bytes, source: Endpoint, now_ns: int) -> CheckOutcome:
        """Take a STUN response. Never raises."""
        try:
            message = stun.parse_untrusted(data)
        except StunError:
            return CheckOutcome.IGNORED
        check = self._pending.get(message.transaction_id)
        # An answer must come from where the check went (RFC 8445 §7.2.5.2.1).
        if check is None or check.candidate.endpoint != source or not message.is_authentic(self._password):
            return CheckOutcome.IGNORED
        if message.type == stun.MessageType.BINDING_ERROR:
            del self._pending[message.transaction_id]
            if _error_code_untrusted(message) == FORBIDDEN:
                self.state = IceState.FAILED  # whichever way we go, it leads to the same transceiver
                self.is_gone = True
            return CheckOutcome.REFUSED
        if message.type != stun.MessageType.BINDING_RESPONSE or self.state is IceState.FAILED:
            return CheckOutcome.IGNORED
        del self._pending[message.transaction_id]
        self._learn_reflexive_untrusted(message)
        self._accept(check, now_ns)
        return CheckOutcome.ANSWERED

    def _learn_reflexive_untrusted(self, message: stun.Message) -> None:
        value = message.get(stun.Attribute.XOR_MAPPED_ADDRESS)
        if value is None:
            return
        try:
            self.reflexive = stun.parse_xor_address_untrusted(value, message.transaction_id)
        except StunError:
            self.reflexive = None

    def _accept(self, check: _Check, now_ns: int) -> None:
        candidate = check.candidate
        if candidate is not self._selected and self._selected is not None and not self._searching:
            return  # a late answer of a candidate that lost
        self.rtt_ns = now_ns - check.sent_ns
        self._answered_ns = now_ns
        self._asks_why_quiet = False
        candidate.attempts = 0
        candidate.nominated = candidate.nominated or check.nominates
        if candidate is not self._selected or self._searching:
            self._select(candidate)
        candidate.next_ns = now_ns + self._consent_interval_ns() if candidate.nominated else now_ns

    def _select(self, selected: _Candidate) -> None:
        if selected is not self._selected:
            selected.nominated = False
        self._selected = selected
        self._searching = False
        self.state = IceState.CONNECTED
        for candidate in self._candidates:
            candidate.next_ns = NEVER
            candidate.attempts = 0

    def _search(self, now_ns: int) -> None:
        """Check every usable candidate but the one in use, which has its own times, in order."""
        self._searching = True
        start_ns = now_ns
        for candidate in self._candidates:
            if candidate is self._selected or not candidate.usable:
                continue
            candidate.next_ns = start_ns
            start_ns += ATTEMPT_DELAY_NS
        if start_ns == now_ns and self._selected is None:
            self.state = IceState.FAILED

    def _hurry(self, now_ns: int) -> None:
        """Nothing has been tried of what is left: begin, or fail when nothing is left."""
        usable = [c for c in self._candidates if c.usable]
        if not usable:
            self.state = IceState.FAILED
        elif all(c.attempts == 0 for c in usable):
            self._search(now_ns)

    def _check(self, candidate: _Candidate, now_ns: int) -> bytes:
        nominates = candidate is self._selected and (
            self._nomination is Nomination.ALWAYS or not candidate.nominated
        )
        transaction_id = self._entropy(12)
        self._pending[transaction_id] = _Check(candidate, now_ns, nominates)
        candidate.next_ns = now_ns + self._pause_ns(candidate)
        candidate.attempts += 1
        attributes: list[tuple[int, bytes]] = [
            (stun.Attribute.USERNAME, self._username),
            (stun.Attribute.PRIORITY, stun.encode_u32(PEER_REFLEXIVE_PRIORITY)),
            (stun.Attribute.ICE_CONTROLLING, self._tie_breaker),
        ]
        if nominates:
            attributes.append((stun.Attribute.USE_CANDIDATE, b""))
        return stun.encode(stun.MessageType.BINDING_REQUEST, transaction_id, attributes, self._password)

    def _pause_ns(self, candidate: _Candidate) -> int:
        """From the check that is being sent to the next one, should no answer come."""
        if candidate is not self._selected or not candidate.nominated:
            return RETRANSMIT_NS[min(candidate.attempts, len(RETRANSMIT_NS) - 1)]
        return UNANSWERED_INTERVAL_NS

    def _consent_interval_ns(self) -> int:
        return CONSENT_INTERVAL_NS * (800 + 400 * self._entropy(1)[0] // 255) // 1000

    def _forget(self, now_ns: int) -> None:
        """Drop transactions that nobody will answer; they come in order, so the oldest are first."""
        while self._pending:
            oldest = next(iter(self._pending))
            if now_ns - self._pending[oldest].sent_ns < TRANSACTION_LIFETIME_NS:
                return
            del self._pending[oldest]


def _error_code_untrusted(message: stun.Message) -> int | None:
    try:
        return stun.parse_error_code_untrusted(message.get(stun.Attribute.ERROR_CODE) or b"")
    except StunError:
        return None
