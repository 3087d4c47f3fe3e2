"""One session's paths: which is in use, which are company, and what the others may be sent. Sans-IO.

docs/paths.md has the rules and what they are for. A path is an address that the client has sent from. It is
*proven* while the client has shown lately that it hears us there; to any other, at most three bytes go for
one that came from it (RFC 9000 §8.1). Fresh signs claim the call for their path, a proven path gets it, and
the path that was left stays in *company* until it is plain that nobody uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.addr import Endpoint
from transceiver.transport.moves import MS, SILENCE_NS, Sign, is_due
from transceiver.transport.path import COMPANY_NS, CONSENT_NS, DISPUTE_NS, Path

MAX_WAYS = 3
"""Proven paths that all of a call goes to, the one in use included."""
CLAIM_NS = 2_000 * MS
"""How long a claim waits for its proof; longer than any round trip that somebody talks over."""
MAX_SPARES = 3
"""Paths beside those in use that are kept open: two PoPs, two families."""
LIFELINE_NS = 10_000 * MS
"""How long spares are sent to as well once media has stopped. Firefox takes 10 s to go over by itself."""
MAX_PATHS = 16
"""Addresses of one client: interfaces times families times PoPs."""


@dataclass(frozen=True, slots=True)
class CheckNews:
    """What a fresh check of the client's says."""

    transaction_id: bytes
    size: int
    """Bytes."""
    generation: int
    """Of the credentials, counted by ICE restarts."""
    priority: int
    is_nominating: bool
    is_latest: bool
    """Its nomination has a higher number than any before."""


class Paths:
    """Of one session."""

    def __init__(self) -> None:
        self.heard_ns: int | None = None
        """When anything authentic and fresh last came, from wherever."""
        self.answers = False
        """Whether the client has ever answered a check of ours."""
        self.ways: tuple[Endpoint, ...] = ()
        """Where all of the call goes: the path in use, its company, and unproven paths with its media."""
        self.forgotten: list[Endpoint] = []
        """Addresses that had to make room, for the owner to take."""
        self._paths: dict[Endpoint, Path] = {}
        self._selected: Path | None = None
        self._company: list[Path] = []
        self._claimants: list[Path] = []
        self._generation = 0

    @property
    def remote(self) -> Endpoint | None:
        """The path in use; None before the first check, and when consent has ended."""
        return None if self._selected is None else self._selected.endpoint

    @property
    def addresses(self) -> list[Endpoint]:
        """Every path, oldest first."""
        return list(self._paths)

    def knows(self, endpoint: Endpoint) -> bool:
        """Whether a fresh check or media, or an answer, has come from there."""
        return endpoint in self._paths

    def is_proven(self, endpoint: Endpoint) -> bool:
        """Whether the client has shown lately that it hears us there."""
        path = self._paths.get(endpoint)
        return path is not None and path.is_proven

    @property
    def has_proof(self) -> bool:
        """Whether any path is proven."""
        return any(path.is_proven for path in self._paths.values())

    # What comes

    def hear_check(self, source: Endpoint, news: CheckNews, now_ns: int) -> None:
        """A fresh check. Where there is no room its sender is not remembered, and may yet prove itself."""
        is_known = source in self._paths
        path = self._find(source, now_ns)
        self.heard_ns = now_ns
        self._generation = max(self._generation, news.generation)
        if path is None:
            return
        path.generation = max(path.generation, news.generation) if is_known else news.generation
        path.priority = news.priority
        path.ids.append(news.transaction_id)
        path.earn(news.size, is_fresh=True)
        sign = self._read(path, news, is_known=is_known)
        path.is_nominated |= news.is_nominating
        self._weigh(path, sign, now_ns)
        path.heard_ns = now_ns
        if news.is_nominating:
            path.used_ns = path.shown_ns = now_ns

    def _read(self, path: Path, news: CheckNews, *, is_known: bool) -> Sign:
        """What a check from a path that is not in use says."""
        selected = self._selected
        if selected is None or not news.is_nominating or path.generation < selected.generation:
            return Sign.SPARE if is_known else Sign.NEW
        if path.generation > selected.generation:
            return Sign.RESTARTED
        if not selected.is_nominated:
            return Sign.FIRST_NOMINATED
        if news.is_latest:
            return Sign.RENOMINATED
        return Sign.BETTER_NOMINATED if path.priority > selected.priority else Sign.NOMINATED

    def hear_repeat(self, source: Endpoint, transaction_id: bytes, now_ns: int) -> None:
        """An authentic check whose transaction was seen before. It says nothing; but where it first came
        from elsewhere, one of the two is no client's: then a path that is proven stays in company.
        """
        path = self._paths.get(source)
        if path is not None and path.is_proven and transaction_id not in path.ids:
            path.company_until_ns = now_ns + DISPUTE_NS
            self._accompany(path)

    def hear_media(self, source: Endpoint, size: int, now_ns: int) -> None:
        """Fresh authentic media."""
        self.heard_ns = now_ns
        is_known = source in self._paths
        path = self._find(source, now_ns)
        if path is None:
            return
        selected = self._selected
        if not is_known and selected is not None:
            # Very likely the same interface behind another port of its NAT, so it ranks the same.
            path.generation, path.priority, path.is_nominated = selected.generation, selected.priority, True
        path.earn(size, is_fresh=True)
        path.heard_ns = path.used_ns = path.shown_ns = path.media_ns = now_ns
        if path is not selected:
            self._weigh(path, Sign.MEDIA, now_ns)

    def hear_copy(self, source: Endpoint, now_ns: int) -> None:
        """Media that has just come from elsewhere as well, or twice. Whoever copies may have been first, so
        a proven path that it comes from is kept.
        """
        path = self._paths.get(source)
        if path is not None and path.is_proven:
            path.shown_ns = now_ns
            self._accompany(path)

    def hear_dtls(self, source: Endpoint, size: int) -> None:
        """A DTLS datagram, authentic or not: it counts for what may be answered."""
        path = self._paths.get(source)
        if path is not None:
            path.earn(size, is_fresh=False)

    def hear(self, now_ns: int) -> None:
        """Something authentic came that says nothing about addresses."""
        self.heard_ns = now_ns

    # Proof

    def prove(self, source: Endpoint, slot: int, now_ns: int) -> bool:
        """The client has answered the check of that slot at `source`. False when it has done so before."""
        path = self._paths.get(source) or self._make(source, now_ns, is_proven=True)
        if path is None or slot <= path.slot:
            return False
        path.slot = slot
        self.answers = True
        self.heard_ns = path.heard_ns = now_ns
        self._take_proof(path, now_ns)
        return True

    def finish_handshake(self, source: Endpoint, now_ns: int, *, is_sole: bool) -> None:
        """The DTLS handshake was finished from `source`, where the client speaks by choice. `is_sole`: all of
        it came from there, so the client has heard us there.
        """
        path = self._paths.get(source)
        if path is None:
            return
        if is_sole:
            path.is_sole = True
            path.heard_ns = now_ns
            self._take_proof(path, now_ns)
        if path.is_proven:
            path.used_ns = path.shown_ns = now_ns
            self._select(path, now_ns)

    def _take_proof(self, path: Path, now_ns: int) -> None:
        path.prove(now_ns)
        if path.claimed_ns is not None:
            self._select(path, now_ns)
        else:
            self._prefer_proven(now_ns)

    def _prefer_proven(self, now_ns: int) -> None:
        """Whoever is not proven and does not speak gives way to who is."""
        selected = self._selected
        if selected is not None and (selected.is_proven or selected.speaks(now_ns)):
            return
        proven = [path for path in self._paths.values() if path.is_proven]
        if proven:
            self._select(max(proven, key=lambda path: (path.used_ns, path.heard_ns)), now_ns)

    # Which are in use

    def _weigh(self, path: Path, sign: Sign, now_ns: int) -> None:
        """What a fresh sign from `path` changes."""
        selected = self._selected
        if selected is None:
            self._select(path, now_ns)
        elif path is not selected and is_due(sign, selected.used_ns, selected.heard_ns, now_ns):
            if path.is_proven or self._is_enough(sign, selected, now_ns):
                self._select(path, now_ns)
            else:
                path.claimed_ns = now_ns
                self._arrange()

    def _is_enough(self, sign: Sign, selected: Path, now_ns: int) -> bool:
        """Whether a claim counts without proof: nobody has any, or the client gives none."""
        if not selected.is_proven:
            return not self.has_proof
        if self.answers:
            return False
        return sign is Sign.MEDIA or now_ns - selected.used_ns >= SILENCE_NS

    def _select(self, path: Path, now_ns: int) -> None:
        left = self._selected
        path.claimed_ns = None
        if path is left:
            return
        self._selected = path
        if path in self._company:
            self._company.remove(path)
        if left is not None and left.is_proven:
            left.company_until_ns = max(left.company_until_ns, now_ns + COMPANY_NS)
            self._accompany(left)
        self._arrange()

    def _accompany(self, path: Path) -> None:
        if path is self._selected or path in self._company:
            return
        self._company.append(path)
        if len(self._company) >= MAX_WAYS:
            # Whoever came last: the client was here before those who take an interest in its call.
            self._company.remove(max(self._company, key=lambda each: each.since_ns))
        self._arrange()

    def _arrange(self) -> None:
        selected = self._selected
        self._claimants = [
            path for path in self._paths.values() if path.claimed_ns is not None and path is not selected
        ]
        first = () if selected is None else (selected,)
        others = (p for p in self._claimants if p.media_ns is not None and p not in self._company)
        self.ways = tuple(path.endpoint for path in (*first, *self._company, *others))

    def expire(self, now_ns: int) -> None:
        """Let go of what is out of date. For every tick."""
        for path in self._paths.values():
            if path.is_proven and not path.holds(now_ns, answers=self.answers):
                path.disprove()
        if self._company or self._claimants:
            self._dismiss(now_ns)
        selected = self._selected
        if selected is None:
            return
        if now_ns - selected.heard_ns >= CONSENT_NS:
            self._selected = None
            self._arrange()
        elif not selected.is_proven:
            self._prefer_proven(now_ns)

    def _dismiss(self, now_ns: int) -> None:
        """Company that is none any more, and claims that were not proven."""
        for path in self._company:
            if not self.answers and not path.is_company(now_ns):
                path.disprove()  # there is only the one proof, which has moved on with the client
        self._company = [path for path in self._company if path.is_company(now_ns)]
        for path in self._claimants:
            if path.claimed_ns is not None and now_ns - path.claimed_ns >= CLAIM_NS:
                path.claimed_ns = None
        self._arrange()

    # What may be sent

    def pay(self, to: Endpoint, size: int, *, is_media: bool, reserve: int = 0) -> bool:
        """Whether a datagram of `size` bytes may go there; without proof it is paid for. Then media gets one
        byte for one while there is a proven path that it goes to anyhow, and three else.
        """
        path = self._paths.get(to)
        if path is None:
            return False
        return path.pay(size, is_media=is_media and self._has_proven_way, reserve=reserve)

    @property
    def _has_proven_way(self) -> bool:
        selected = self._selected
        return bool(self._company) or (selected is not None and selected.is_proven)

    # Our own checks

    def should_ask(self, source: Endpoint, now_ns: int) -> bool:
        """Whether to check `source` now that something authentic has come from there. Notes that it is done.
        Who cannot be remembered is asked each time, for what its datagram has paid.
        """
        path = self._paths.get(source)
        if path is None:
            return True
        if not path.may_ask(now_ns):
            return False
        path.note_asked(now_ns)
        return True

    def to_ask(self, now_ns: int) -> list[Endpoint]:
        """The paths to be checked though nothing has come: those in use, and spares. Notes that it is done.
        For calling now and then.
        """
        due = [path for path in self._kept_open(now_ns) if path.must_ask(now_ns)]
        for path in due:
            path.note_asked(now_ns)
        return [path.endpoint for path in due]

    def _kept_open(self, now_ns: int) -> Iterator[Path]:
        for endpoint in (*self.ways, *self.spares(now_ns)):
            yield self._paths[endpoint]

    # Spares

    def spares(self, now_ns: int) -> list[Endpoint]:
        """Paths beside those in use at which the client was heard not long ago, proven and latest first."""
        selected = self._selected
        if selected is None:
            return []
        found = [
            path
            for path in self._paths.values()
            if path.generation == selected.generation
            and path.endpoint not in self.ways
            and now_ns - path.heard_ns < CONSENT_NS
        ]
        found.sort(key=lambda path: (path.is_proven, path.heard_ns), reverse=True)
        return [path.endpoint for path in found[:MAX_SPARES]]

    def lifelines(self, now_ns: int) -> list[Endpoint]:
        """Where to send as well, as the path in use may be dead: a client that was sending media has fallen
        silent there. Its ICE notices after seconds; until then it hears us by another path.
        """
        selected = self._selected
        if selected is None or selected.media_ns is None or now_ns - selected.heard_ns < SILENCE_NS:
            return []
        if now_ns - selected.media_ns >= LIFELINE_NS:
            return []
        return [spare for spare in self.spares(now_ns) if self._paths[spare].is_proven]

    # The table

    def _find(self, source: Endpoint, now_ns: int) -> Path | None:
        return self._paths.get(source) or self._make(source, now_ns, is_proven=False)

    def _make(self, source: Endpoint, now_ns: int, *, is_proven: bool) -> Path | None:
        """A path for an address; who has not answered gets no place of one that has."""
        if len(self._paths) >= MAX_PATHS:
            idle = (p for p in self._paths.values() if p is not self._selected and p not in self._company)
            oldest = min(idle, key=lambda path: (path.is_proven, path.heard_ns))
            if oldest.is_proven and not is_proven:
                return None
            self.forget(oldest.endpoint)
            self.forgotten.append(oldest.endpoint)
        path = self._paths[source] = Path(source, self._generation, now_ns, now_ns, now_ns)
        return path

    def forget(self, endpoint: Endpoint) -> None:
        """Nothing of this session may go there any more, as it may be somebody else's."""
        path = self._paths.pop(endpoint, None)
        if path is None:
            return
        if path is self._selected:
            self._selected = None
        self._company = [each for each in self._company if each is not path]
        self._arrange()

    def is_shown(self, endpoint: Endpoint, since_ns: int) -> bool:
        """Whether the client has shown itself at `endpoint` since then: by an answer, or where it never gives
        any by whatever is authentic.
        """
        path = self._paths.get(endpoint)
        if path is None:
            return False
        return (path.proven_ns if self.answers else path.heard_ns) >= since_ns
