"""What one API key, and one client secret below it, may have of a host at once, and in a second.

No I/O, and no clock: requests come with their time, what other processes have is in the `Ledger`. A request
is admitted by its header, before anything of its body is read.
"""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import partial
from typing import Final

from core.bucket import NS_PER_S, TokenBucket
from core.service.metrics import Bound, counter
from transceiver.session.counts import CallCounts
from transceiver.session.request import NO_EVENT_QUOTA, EventQuota
from transceiver.signaling.ledger import Kind, Ledger
from transceiver.signaling.quota_plan import Allowance, KeyQuota, QuotaPlan
from transceiver.signaling.refusals import HttpReason, Refusal

MAX_SECRETS: Final = 4_096
"""Of one process, that it remembers the requests of."""
MAX_WEBSOCKETS: Final = 768
"""Of one process: three quarters of its connections. They never give way, so the rest is for requests."""
MS_PER_S: Final = 1_000


class Quota(StrEnum):
    """What there is so much of; a metric label."""

    REQUESTS = "requests"
    PENDING_CALLS = "pending_calls"
    LIVE_CALLS = "live_calls"
    SIDEBANDS = "sidebands"
    EVENTS = "events"


QUOTA_REFUSALS = counter(
    "voxpop_transceiver_quota_refusals_total",
    "Requests, and events of calls, that were refused as their key, or a client secret that it has made, has "
    "all that it may have.",
    key=Bound("each key of `transceiver.api_keys_file`"),
    quota=Quota,
)
WAIT_S: Final = {Quota.PENDING_CALLS: 2, Quota.LIVE_CALLS: 5, Quota.SIDEBANDS: 5}
"""What a client is told to wait for what is free when somebody is done with it, which nobody knows."""
WORDS: Final = {
    Quota.REQUESTS: "sent more requests than it may",
    Quota.PENDING_CALLS: "as many calls whose client has not arrived as it may",
    Quota.LIVE_CALLS: "as many calls as it may",
    Quota.SIDEBANDS: "as many sidebands as it may",
}


class Wants(Enum):
    """What a request asks for, besides an answer."""

    ANSWER = auto()
    CALL = auto()
    SIDEBAND = auto()


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks."""

    key: str
    """The name of the API key."""
    secret: str = ""
    """What tells the client secret from others, where it is one."""


@dataclass(slots=True)
class Account:
    """What one has here, and has let in."""

    bucket: TokenBucket
    asking: int = 0
    sidebands: int = 0
    seen: int = 0
    """Requests that its bucket knows of, of those that were let in anywhere."""

    @property
    def is_forgettable(self) -> bool:
        """Whether it may as well be a new one."""
        return not self.asking and not self.sidebands


class Quotas:
    """Of one process."""

    def __init__(self, counts: CallCounts, ledger: Ledger) -> None:
        self._counts = counts
        self._ledger = ledger
        self._plan: QuotaPlan = {}
        self._keys: dict[str, Account] = {}
        self._secrets: OrderedDict[str, Account] = OrderedDict()
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._websockets = 0
        counts.changed = self._publish

    def adopt(self, plan: QuotaPlan, now_ns: int) -> None:
        """Take those of a reloaded configuration."""
        self._plan = plan
        self._keys = {name: account for name, account in self._keys.items() if name in plan}
        self._refusals = Counter({row: n for row, n in self._refusals.items() if row[0] in plan})
        for name, quota in plan.items():
            account = self._keys.get(name)
            if account is None:
                account = self._keys[name] = Account(_bucket(quota.own, now_ns))
                account.seen = self._ledger.total(quota.slot, Kind.TAKEN)
            account.bucket.per_s, account.bucket.burst = quota.own.requests_per_s, quota.own.requests_burst
            self._publish(name)

    def refusals(self) -> Mapping[tuple[str, ...], int]:
        """How often each key was refused by each quota."""
        return {(name, quota): self._refusals[name, quota] for name in self._plan for quota in Quota}

    def events_of(self, key: str) -> EventQuota:
        """What a call of a key may send."""
        quota = self._plan.get(key)
        if quota is None:
            return NO_EVENT_QUOTA
        return EventQuota(quota.events_per_s, quota.events_burst, partial(self._count, key, Quota.EVENTS))

    @contextlib.contextmanager
    def admitted(self, who: Holder, wants: Wants, now_ns: int) -> Iterator[None]:
        """While a request is under way, for a WebSocket as long as it is open. Raises Refusal."""
        quota = self._plan.get(who.key)
        accounts = [] if quota is None else list(self._accounts(who, quota, now_ns))
        for holder, account, may in accounts:
            self._judge(who.key, holder, account, may, wants)
        if wants is Wants.SIDEBAND and self._websockets >= MAX_WEBSOCKETS:
            what = "This process has as many WebSockets as it may."
            raise Refusal(429, HttpReason.TOO_MANY_SIDEBANDS, what, {"Retry-After": "5"})
        self._hold(accounts, wants, 1)
        try:
            yield
        finally:
            self._hold(accounts, wants, -1)

    def _accounts(
        self, who: Holder, quota: KeyQuota, now_ns: int
    ) -> Iterator[tuple[str, Account, Allowance]]:
        """That of its secret, which comes first so that it costs its key nothing to refuse that, and that of
        the key with what other processes have let in.
        """
        if who.secret:
            holder = f"secret:{who.secret}"
            secret = self._secret(holder, quota.secret, now_ns)
            secret.bucket.refill(now_ns)
            yield holder, secret, quota.secret
        account = self._keys[who.key]
        taken = self._ledger.total(quota.slot, Kind.TAKEN)
        account.bucket.refill(now_ns)
        account.bucket.debit(taken - account.seen)
        account.seen = taken
        yield who.key, account, quota.own

    def _secret(self, holder: str, may: Allowance, now_ns: int) -> Account:
        """Remembered until too many others were seen since; who has something open stays."""
        account = self._secrets.get(holder)
        if account is None:
            if len(self._secrets) >= MAX_SECRETS:
                idle = (name for name, each in self._secrets.items() if each.is_forgettable)
                del self._secrets[next(idle, next(iter(self._secrets)))]
            account = self._secrets[holder] = Account(_bucket(may, now_ns))
        self._secrets.move_to_end(holder)
        account.bucket.per_s, account.bucket.burst = may.requests_per_s, may.requests_burst
        return account

    def _judge(self, key: str, holder: str, account: Account, may: Allowance, wants: Wants) -> None:
        has = partial(self._has, key, holder, account)
        if wants is Wants.CALL:
            asking = has(Kind.ASKING)
            if asking + has(Kind.LIVE) >= may.live_calls:
                raise self._refusal(key, holder, Quota.LIVE_CALLS)
            if asking + has(Kind.PENDING) >= may.pending_calls:
                raise self._refusal(key, holder, Quota.PENDING_CALLS)
        elif wants is Wants.SIDEBAND and has(Kind.SIDEBANDS) >= may.sidebands:
            raise self._refusal(key, holder, Quota.SIDEBANDS)
        if not account.bucket.take():
            raise self._refusal(key, holder, Quota.REQUESTS, account.bucket.wait_ns())
        if holder == key:
            slot = self._plan[key].slot
            self._ledger.put(slot, Kind.TAKEN, self._ledger.own(slot, Kind.TAKEN) + 1)
            account.seen += 1

    def _has(self, key: str, holder: str, account: Account, kind: Kind) -> int:
        """A key on the whole host; a secret here."""
        if holder == key:
            return self._ledger.total(self._plan[key].slot, kind)
        return self._here(holder, account, kind)

    def _here(self, holder: str, account: Account, kind: Kind) -> int:
        if kind is Kind.LIVE:
            return self._counts.live(holder)
        if kind is Kind.PENDING:
            return self._counts.pending(holder)
        return account.asking if kind is Kind.ASKING else account.sidebands

    def _hold(self, accounts: list[tuple[str, Account, Allowance]], wants: Wants, more: int) -> None:
        self._websockets += more if wants is Wants.SIDEBAND else 0
        for holder, account, _ in accounts:
            account.asking += more if wants is Wants.CALL else 0
            account.sidebands += more if wants is Wants.SIDEBAND else 0
            if wants is not Wants.ANSWER:
                self._publish(holder)

    def _publish(self, holder: str) -> None:
        """Tell the other processes; of secrets they are not told."""
        quota, account = self._plan.get(holder), self._keys.get(holder)
        if quota is not None and account is not None:
            for kind in (Kind.ASKING, Kind.PENDING, Kind.LIVE, Kind.SIDEBANDS):
                self._ledger.put(quota.slot, kind, self._here(holder, account, kind))

    def _refusal(self, key: str, holder: str, quota: Quota, wait_ns: int = 0) -> Refusal:
        self._count(key, quota)
        wait_ms = WAIT_S[quota] * MS_PER_S if quota in WAIT_S else -(-wait_ns * MS_PER_S // NS_PER_S)
        whose = "This API key has" if holder == key else "This client secret has"
        return Refusal(
            429,
            HttpReason.RATE_LIMIT,
            f"{whose} {WORDS[quota]} ({quota}). Try again in {wait_ms / MS_PER_S:g} s.",
            {"Retry-After": str(max(1, -(-wait_ms // MS_PER_S))), "Retry-After-Ms": str(wait_ms)},
        )

    def _count(self, key: str, quota: Quota) -> None:
        if key in self._plan:
            self._refusals[key, quota] += 1


def _bucket(may: Allowance, now_ns: int) -> TokenBucket:
    return TokenBucket(may.requests_per_s, may.requests_burst, now_ns)
