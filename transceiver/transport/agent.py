"""One session's ICE as a whole: what comes, what it changes, and what goes out for it. Sans-IO.

Every byte that a session sends is asked for here, by `pay`: docs/paths.md has the rules. `claim(endpoint)` of
the calls says whether an address may be this session's, which the port knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from core.addr import Endpoint
from core.stun import Message
from transceiver.transport.challenges import Challenges
from transceiver.transport.credentials import Credentials
from transceiver.transport.ice import IceLite
from transceiver.transport.path import FACTOR
from transceiver.transport.paths import Paths
from transceiver.transport.reasons import IceReason, MuxReason

CONTEST_NS = 1_000_000_000
"""How long a client may take to answer, while somebody else claims its address."""
SILENT_CONTEST_NS = 5_000_000_000
"""The same for a client that answers no checks, until anything authentic comes."""
CONTEST_ASK_NS = 250_000_000
KEY_BYTES = 32
RECENT_PACKETS = 64
"""Of media, 1.3 s: a copy of one of them tells that the client has sent it."""

Claim = Callable[[Endpoint], bool]


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a check has come to."""

    replies: tuple[bytes, ...] = ()
    """For where it came from, in this order."""
    refused: StrEnum | None = None
    """Why it was not what it should have been, if so; an `IceReason` or `MuxReason`."""


@dataclass(slots=True)
class _Contest:
    since_ns: int
    asked_ns: int


class IceAgent:
    """Of one session. `local` and `remote` are both sides' credentials, `locator` the session's for the port;
    `key`, 32 bytes, is secret.
    """

    def __init__(self, local: Credentials, remote: Credentials, locator: bytes, key: bytes) -> None:
        self.paths = Paths()
        self._ice = IceLite(local, remote.ufrag, self.paths, key[:16])
        self._challenges = Challenges(remote, locator, key)
        self._contests: dict[Endpoint, _Contest] = {}
        self._recent: deque[int] = deque(maxlen=RECENT_PACKETS)
        self.reserve_bytes = 0
        """What our checks leave of the credit of an unproven path, for what matters more."""

    @property
    def locator(self) -> bytes:
        """What the transactions of our checks begin with."""
        return self._challenges.locator

    @property
    def ufrags(self) -> list[str]:
        """Every local ufrag that is answered to, oldest first."""
        return self._ice.ufrags

    # What comes

    def receive_check_untrusted(
        self, message: Message, source: Endpoint, claim: Claim, now_ns: int
    ) -> Reaction:
        """A STUN message that names a ufrag of ours."""
        ice = self._ice
        generation = ice.authenticate_untrusted(message)
        if isinstance(generation, IceReason):
            return Reaction(refused=generation)
        objection = ice.find_objection(message, generation)
        if objection is not None:
            return Reaction((objection.response,), objection.reason)
        is_fresh = ice.is_fresh(message)
        if not is_fresh:
            self.paths.hear_repeat(source, message.transaction_id, now_ns)
        elif claim(source):
            ice.accept(message, generation, source, now_ns)
        else:
            return Reaction(refused=MuxReason.ADDRESS_IN_USE)
        response = ice.respond(message, generation, source)
        if is_fresh and self.paths.pay(source, len(response), is_media=False):
            challenge = self._ask(source, None, now_ns)
        else:
            challenge = self._ask(source, FACTOR * len(message.data) - len(response), now_ns)
        replies = (response,) if challenge is None else (response, challenge)
        return Reaction(replies, None if is_fresh else IceReason.REPEATED)

    def receive_answer_untrusted(
        self, message: Message, source: Endpoint, claim: Claim, now_ns: int
    ) -> IceReason | MuxReason | None:
        """A STUN response that names our locator. Why it is refused; None when it has proven its path."""
        slot = self._challenges.find_slot_untrusted(message, source, now_ns)
        if slot is None:
            return IceReason.UNASKED
        if not claim(source):
            return MuxReason.ADDRESS_IN_USE
        return None if self.paths.prove(source, slot, now_ns) else IceReason.UNASKED

    def hear_media(self, datagram: bytes, source: Endpoint, claim: Claim, now_ns: int) -> bytes | None:
        """Authentic media that is fresh. Returns a check of ours that is to go there."""
        self._recent.append(hash(datagram))
        paths = self.paths
        if not paths.knows(source) and not claim(source):
            paths.hear(now_ns)
            return None
        paths.hear_media(source, len(datagram), now_ns)
        if paths.is_proven(source):
            return None
        return self._ask(source, None if paths.knows(source) else FACTOR * len(datagram), now_ns)

    def is_copy_untrusted(self, datagram: bytes) -> bool:
        """Whether it is media that was authentic and fresh when it came, just now."""
        return hash(datagram) in self._recent

    def hear_copy(self, datagram: bytes, source: Endpoint, now_ns: int) -> bytes | None:
        """Such media from `source`, which may be its sender, with somebody else faster. Returns a check of
        ours that is to go there.
        """
        self.paths.hear_copy(source, now_ns)
        return self._ask(source, FACTOR * len(datagram), now_ns)

    # What goes out

    def pay(self, to: Endpoint, size: int, *, is_media: bool) -> bool:
        """Whether a datagram of `size` bytes may go there."""
        return self.paths.pay(to, size, is_media=is_media)

    def due_checks(self, now_ns: int) -> list[tuple[Endpoint, bytes]]:
        """Our checks that keep paths open, each with where to. For calling now and then."""
        found = []
        for endpoint in self.paths.to_ask(now_ns):
            check = self._build(endpoint, now_ns)
            if self.paths.pay(endpoint, len(check), is_media=False, reserve=self.reserve_bytes):
                found.append((endpoint, check))
        return found

    def _ask(self, to: Endpoint, allowance: int | None, now_ns: int) -> bytes | None:
        """A check of ours, if it is time, and `allowance` bytes or the path's own credit pay for it."""
        if not self.paths.should_ask(to, now_ns):
            return None
        check = self._build(to, now_ns)
        if allowance is None:
            is_paid = self.paths.pay(to, len(check), is_media=False, reserve=self.reserve_bytes)
        else:
            is_paid = len(check) <= allowance
        return check if is_paid else None

    def _build(self, to: Endpoint, now_ns: int) -> bytes:
        return self._challenges.build(self._ice.ufrags[-1], to, now_ns)

    # Contests

    def contest(self, endpoint: Endpoint, now_ns: int) -> tuple[bool, bytes | None]:
        """Somebody else claims an address of ours. Whether it is ours all the same, and a check of ours that
        is to go there: while the client answers, it is.
        """
        if not self.paths.is_proven(endpoint):
            return False, None
        contest = self._contests.get(endpoint)
        if contest is None or self.paths.is_shown(endpoint, contest.since_ns):
            self._contests = {e: c for e, c in self._contests.items() if self.paths.knows(e)}
            self._contests[endpoint] = _Contest(now_ns, now_ns)
            return True, self._build(endpoint, now_ns)
        if now_ns - contest.since_ns >= (CONTEST_NS if self.paths.answers else SILENT_CONTEST_NS):
            del self._contests[endpoint]
            return False, None
        if now_ns - contest.asked_ns < CONTEST_ASK_NS:
            return True, None
        contest.asked_ns = now_ns
        return True, self._build(endpoint, now_ns)

    # Restart

    def restart(self, local: Credentials, remote: Credentials) -> list[str]:
        """Take new credentials of both sides. Returns the ufrags that are not answered to any more."""
        self._challenges.restart(remote)
        return self._ice.restart(local, remote.ufrag)

    def retire(self, now_ns: int) -> list[str]:
        """Drop credentials whose time is over, and say which. For calling now and then."""
        return self._ice.retire(now_ns)
