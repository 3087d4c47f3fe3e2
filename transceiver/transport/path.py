"""One path of a session: whether it is proven, what it may be sent without, and when it is asked. Sans-IO."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from core.addr import Endpoint
from transceiver.transport.moves import MS, SILENCE_NS

PROOF_NS = 15_000 * MS
"""How long an answer is good for: three of our checks, and a second's retries of the last one."""
FACTOR = 3
"""Bytes to an unproven path for each that came from it (RFC 9000 §8.1)."""
COMPANY_NS = 2_000 * MS
"""How long the path that was left is sent to as well, after its last media or nomination."""
DISPUTE_NS = PROOF_NS
"""The same where one check has come from two addresses, so that one of them is no client's."""
CONSENT_NS = 30_000 * MS
"""A path that nothing authentic has come from for this long is sent nothing more (RFC 7675 §5.1)."""
ASK_NS = (100 * MS, 200 * MS, 400 * MS, 800 * MS, 1_600 * MS)
"""Pauses between our checks of an unproven path, when something comes from it; the last one repeats."""
REASSURE_NS, INSIST_NS = 5_000 * MS, 1_000 * MS
"""Pauses between our checks of a path in use or a spare: the second while one is not answered."""
INSISTENCE = 10
"""Checks without an answer after which the pause is the longer one again."""
RECENT_IDS = 4


@dataclass(slots=True, eq=False)
class Path:
    """One address that the client was heard at."""

    endpoint: Endpoint
    generation: int
    """Of the latest credentials that were used here."""
    heard_ns: int
    """Anything authentic and fresh."""
    used_ns: int
    """Fresh media or a fresh nominating check: signs that the client sends from here by choice."""
    shown_ns: int
    """The same, repeats of them included: whoever copies cannot make the client stop sending."""
    media_ns: int | None = None
    """Fresh media; None where none has come."""
    priority: int = 0
    is_nominated: bool = False
    ids: deque[bytes] = field(default_factory=lambda: deque(maxlen=RECENT_IDS))
    """Of its own latest checks, which it may repeat."""
    is_proven: bool = False
    proven_ns: int = -PROOF_NS
    """The latest proof."""
    since_ns: int = 0
    """From when it has been proven without a break."""
    is_sole: bool = False
    """The handshake was finished here, and nothing of it came from elsewhere."""
    slot: int = -1
    """Of the latest check of ours that was answered; what is not later is a repeat."""
    claimed_ns: int | None = None
    company_until_ns: int = 0
    _credit: int = 0
    _media_credit: int = 0
    _asked_ns: int | None = None
    _asked: int = 0
    """Checks of ours since the last answer."""

    # Proof

    def prove(self, now_ns: int) -> None:
        """The client has shown that it hears us here."""
        self.since_ns = self.since_ns if self.is_proven else now_ns
        self.is_proven, self.proven_ns, self._asked = True, now_ns, 0

    def disprove(self) -> None:
        """That was too long ago, or not here any more."""
        self.is_proven = self.is_sole = False
        self._credit = self._media_credit = 0
        # A client that was away has left checks of ours unanswered, and must not be asked the later for it.
        self._asked_ns, self._asked = None, 0

    def holds(self, now_ns: int, *, answers: bool) -> bool:
        """Whether the proof is still good. A client that answers nothing has the one that it gave once."""
        if self.is_sole and not answers:
            return now_ns - self.heard_ns < CONSENT_NS
        return now_ns - self.proven_ns < PROOF_NS

    def is_company(self, now_ns: int) -> bool:
        """Whether a path that is not in use is sent all as well."""
        return self.is_proven and now_ns < max(self.company_until_ns, self.shown_ns + COMPANY_NS)

    def speaks(self, now_ns: int) -> bool:
        """Whether fresh media comes from here."""
        return self.media_ns is not None and now_ns - self.media_ns < SILENCE_NS

    # What may be sent without proof

    def earn(self, size: int, *, is_fresh: bool) -> None:
        """So many bytes have come from here, authentic and fresh or not known to be."""
        if not self.is_proven:
            self._credit += FACTOR * size
            self._media_credit += size * is_fresh

    def pay(self, size: int, *, is_media: bool, reserve: int = 0) -> bool:
        """Whether so many bytes may go here, of media only as many as have come. `reserve` must be left."""
        if self.is_proven:
            return True
        if self._credit < size + reserve or (is_media and self._media_credit < size):
            return False
        self._credit -= size
        self._media_credit -= size * is_media
        return True

    # Our own checks

    def may_ask(self, now_ns: int) -> bool:
        """Whether it is time to ask again for a proof, now that something has come from here."""
        if self.is_proven:
            return False
        pause_ns = ASK_NS[min(max(self._asked, 1), len(ASK_NS)) - 1]
        return self._asked_ns is None or now_ns - self._asked_ns >= pause_ns

    def must_ask(self, now_ns: int) -> bool:
        """Whether it is time to ask, even if nothing comes."""
        pause_ns = INSIST_NS if 0 < self._asked < INSISTENCE else REASSURE_NS
        return self._asked_ns is None or now_ns - self._asked_ns >= pause_ns

    def note_asked(self, now_ns: int) -> None:
        """A check of ours goes out."""
        self._asked_ns = now_ns
        self._asked += 1
