"""What the hosts of PoPs say of themselves, heard by way of the store, and what follows for each PoP.

A heartbeat is news when it is later than what the same host has said before, so who puts an old one back
keeps no dead host alive. Hosts are timed by our own clock, from their last news: theirs may be off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from core.config import PopSettings
from core.geo import Position, distance_km
from core.keyring import Keyring
from core.store.heartbeat import (
    PERIOD_S,
    TTL_S,
    HeartbeatError,
    HeartbeatReason,
    HostState,
    PopHeartbeat,
    decode_pop_untrusted,
    pop_and_host_untrusted,
)
from core.store.keys import HostKind

SILENT_NS = int(TTL_S * 1e9)
"""Without news for so long, a host is taken for dead."""
LATE_NS: Final = 3_000_000_000
"""Without news for so long, it is, if who asks it has no answer either."""
GRACE_NS: Final = 15_000_000_000
"""Once the store can be asked again: hosts come back to it one after the other."""
FORGOTTEN_NS: Final = 600_000_000_000
APART_KM: Final = 100.0
"""Hosts of one PoP that are farther apart are hosts of two."""
MAX_HOSTS: Final = 64
"""Of one PoP; of more, those that are silent longest are forgotten."""
NAMED_AT_ONCE: Final = 8
"""Refusals that are told of, a round. The others have their turn in the next ones."""


class Verdict(Enum):
    """What a PoP's hosts come to."""

    TAKING = "taking"
    """At least one takes calls."""
    STARTING = "starting"
    """None does, and one is about to."""
    REFUSING = "refusing"
    """None does, by their own word, or by the last word of all."""
    SILENT = "silent"
    """There were some, and they are gone without a word."""


@dataclass(frozen=True, slots=True)
class PopHealth:
    """One PoP, by what its hosts say. `state` and `forwarder` are for people."""

    verdict: Verdict
    state: str
    forwarder: str
    load: float | None
    """Of the host that is fullest: ECMP sends as much to it as to the others."""
    hosts: int
    """Those that are heard."""
    is_late: bool = False
    """Whether it is a while ago that one of them was heard."""


class Refusal(NamedTuple):
    """A heartbeat that is ignored from now on, for the log."""

    host: str
    reason: HeartbeatReason


@dataclass(slots=True)
class _Host:
    """One host of a PoP, by its last news."""

    said: PopHeartbeat
    news_ns: int
    ahead_s: float


class PopHosts:
    """All hosts of all configured PoPs. Nothing here asks."""

    def __init__(self, pops: Sequence[PopSettings], keyring: Keyring) -> None:
        self.refused: Counter[HeartbeatReason] = Counter()
        """Heartbeats that were ignored, by reason, once each time that they were read."""
        self._hosts: dict[str, dict[bytes, _Host]] = {}
        self._told: dict[bytes, HeartbeatReason] = {}
        self._is_deaf = True
        self._since_ns = 0
        """When the store could be asked again."""
        self.adopt(pops, keyring)

    def adopt(self, pops: Sequence[PopSettings], keyring: Keyring) -> None:
        """Take a reloaded configuration."""
        self._pops = {pop.id: pop for pop in pops}
        self._keyring = keyring
        self._hosts = {pop: self._hosts.get(pop, {}) for pop in self._pops}

    @property
    def known(self) -> list[bytes]:
        """The names of all hosts that there are, to be asked for by name."""
        return [name for hosts in self._hosts.values() for name in hosts]

    def hear(self, found: Iterable[tuple[bytes, bytes]], now_ms: int, now_ns: int) -> list[Refusal]:
        """What the store has: (name, value) of each host. Returns what is worth telling. `now_ms` is the wall
        clock, `now_ns` monotonic.
        """
        if self._is_deaf:
            self._is_deaf, self._since_ns = False, now_ns
        refused = dict[bytes, HeartbeatReason]()
        for name, value in found:
            told_as = b"?"  # what is no name is told of once, under no name
            try:
                pop, _ = pop_and_host_untrusted(name)
                told_as = name
                self._hear(name, pop, value, now_ms, now_ns)
            except HeartbeatError as error:
                reason = HeartbeatReason(error.reason)
                refused[told_as] = reason
                self.refused[reason] += 1
        return self._news_of(refused)

    def miss(self) -> None:
        """The store cannot be asked: its silence is not that of the hosts."""
        self._is_deaf = True

    def health(self, pop: str, now_ns: int) -> PopHealth | None:
        """None where nothing is known: no host has ever been heard, or the store cannot be asked and their
        last word was that they take calls.
        """
        hosts = self._hosts.get(pop)
        if not hosts:
            return None
        live = self._live(pop, now_ns)
        if live:
            return _of_live(live, now_ns)
        last = max(hosts.values(), key=lambda host: host.news_ns).said
        if last.state in (HostState.DRAINING, HostState.UNFIT):
            return PopHealth(Verdict.REFUSING, last.state, last.forwarder, None, 0)
        if self._is_deaf or now_ns < self._since_ns + GRACE_NS:
            return None
        return PopHealth(Verdict.SILENT, "silent", "unknown", None, 0)

    def heard(self, pop: str, now_ns: int) -> int:
        """How many hosts of a PoP live, as far as is heard."""
        return len(self._live(pop, now_ns))

    def ahead_s(self, pop: str, now_ns: int) -> float | None:
        """By how much the clock of the live host that is farthest off is ahead of ours, to some five seconds;
        None without any.
        """
        return max((host.ahead_s for host in self._live(pop, now_ns)), key=abs, default=None)

    def _live(self, pop: str, now_ns: int) -> list[_Host]:
        if self._is_deaf:
            return []
        return [host for host in self._hosts.get(pop, {}).values() if _is_live(host, now_ns)]

    def _hear(self, name: bytes, pop: str, value: bytes, now_ms: int, now_ns: int) -> None:
        said = decode_pop_untrusted(value, HostKind.POP.heartbeat_key(name), self._keyring, now_ms)
        settings = self._pops.get(pop)
        if settings is None:
            raise HeartbeatError(HeartbeatReason.UNKNOWN_POP)
        if not set(settings.vips) <= set(said.vips):
            raise HeartbeatError(HeartbeatReason.OTHER_VIPS)
        hosts = self._hosts[pop]
        before = hosts.get(name)
        if before is not None and said.at_ms < before.said.at_ms:
            raise HeartbeatError(HeartbeatReason.REPLAYED)
        if said.place is not None:
            expected = [settings.place] if settings.place is not None else _places(hosts, name, now_ns)
            if any(distance_km(Position(*said.place), Position(*each)) > APART_KM for each in expected):
                raise HeartbeatError(HeartbeatReason.OTHER_PLACE)
        if before is None or said.at_ms > before.said.at_ms:
            hosts[name] = _Host(said, now_ns, _clock_ahead_s(said.at_ms, now_ms))
            self._hosts[pop] = _without_the_dead(hosts, now_ns)

    def _news_of(self, refused: Mapping[bytes, HeartbeatReason]) -> list[Refusal]:
        """Those that were not told of, or for another reason. Who is not refused any more is forgotten."""
        told = {name: reason for name, reason in self._told.items() if refused.get(name) is reason}
        news = [(name, reason) for name, reason in refused.items() if name not in told][:NAMED_AT_ONCE]
        self._told = {**told, **dict(news)}
        return [Refusal(name.decode(), reason) for name, reason in news]


def _without_the_dead(hosts: dict[bytes, _Host], now_ns: int) -> dict[bytes, _Host]:
    """Without those that were silent for so long that nobody expects them. The last one of all is kept, for
    its last word; and of too many, those that were heard last.
    """
    by_news = sorted(hosts, key=lambda name: hosts[name].news_ns, reverse=True)[:MAX_HOSTS]
    return {
        name: hosts[name]
        for name in by_news
        if name == by_news[0] or now_ns - hosts[name].news_ns < FORGOTTEN_NS
    }


def _clock_ahead_s(at_ms: int, now_ms: int) -> float:
    """A heartbeat may have waited for two periods before it was read."""
    ahead_s = (at_ms - now_ms) / 1e3
    return 0.0 if -2 * PERIOD_S - 1 <= ahead_s <= 1 else ahead_s


def _is_live(host: _Host, now_ns: int) -> bool:
    return now_ns - host.news_ns < SILENT_NS


def _places(hosts: Mapping[bytes, _Host], but: bytes, now_ns: int) -> list[tuple[float, float]]:
    """Where the other hosts are that live."""
    others = (host for name, host in hosts.items() if name != but and _is_live(host, now_ns))
    return [host.said.place for host in others if host.said.place is not None]


def _of_live(live: Sequence[_Host], now_ns: int) -> PopHealth:
    taking = [host for host in live if host.said.state is HostState.READY]
    states = {host.said.state for host in live}
    if taking:
        verdict, state = Verdict.TAKING, HostState.READY
    elif HostState.STARTING in states:
        verdict, state = Verdict.STARTING, HostState.STARTING
    else:
        verdict, state = Verdict.REFUSING, min(states)
    counted = taking or live
    forwarders = {host.said.forwarder for host in counted}
    return PopHealth(
        verdict,
        state,
        forwarders.pop() if len(forwarders) == 1 else "mixed",
        round(max(host.said.load for host in counted), 3),
        len(live),
        is_late=now_ns - max(host.news_ns for host in live) >= LATE_NS,
    )
