"""How far the clocks of transceiver hosts are from ours, by what they send when they ask how we are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from core.clocks import ahead_s_untrusted, is_off
from core.cluster import Cluster

MAX_HOSTS = 256
"""Transceiver hosts that are kept; more are not compared."""
SILENCE_NS = 60_000_000_000
"""Of a host that is not heard for so long nothing is known any more: they ask every two seconds."""
PAUSE_NS = 60_000_000_000
"""Between two times that it is worth a line in the log, whatever comes."""


@dataclass(slots=True)
class _Heard:
    """One host."""

    ahead_s: float
    is_off: bool
    heard_ns: int


class HostClocks:
    """Believes only who asks from within the prefix of a cluster, which no stranger's TCP connection comes
    from: the status may be open to everybody.
    """

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}
        self._is_told_off = False
        self._told_ns: int | None = None

    def hear_untrusted(
        self, host: str, date: str, clusters: Iterable[Cluster], now_s: float, now_ns: int
    ) -> bool | None:
        """A request from an address, and its `Date`. Returns what is worth a line in the log: True, some
        clocks are off; False, all agree again; None, nothing new. `now_s` is Unix time, `now_ns` monotonic.
        """
        ahead_s = ahead_s_untrusted(date, now_s)
        if ahead_s is None or not _is_of(host, clusters):
            return None
        self._forget(now_ns)
        before = self._heard.get(host)
        if before is None and len(self._heard) >= MAX_HOSTS:
            return None
        was_off = before is not None and before.is_off
        self._heard[host] = _Heard(ahead_s, is_off(ahead_s, was_off), now_ns)
        return self._news(now_ns)

    def _news(self, now_ns: int) -> bool | None:
        some_are_off = bool(self.off(now_ns))
        if some_are_off == self._is_told_off:
            return None
        if self._told_ns is not None and now_ns - self._told_ns < PAUSE_NS:
            return None
        self._is_told_off, self._told_ns = some_are_off, now_ns
        return some_are_off

    def off(self, now_ns: int) -> dict[str, float]:
        """Hosts whose clocks are too far from ours, the farthest first: seconds that they are ahead."""
        found = [(host, heard) for host, heard in self._heard.items() if _is_recent(heard, now_ns)]
        found.sort(key=lambda each: -abs(each[1].ahead_s))
        return {host: heard.ahead_s for host, heard in found if heard.is_off}

    def farthest_s(self, now_ns: int) -> float | None:
        """By how much the clock is ahead that is farthest from ours; None where none is known."""
        recent = [heard.ahead_s for heard in self._heard.values() if _is_recent(heard, now_ns)]
        return max(recent, key=abs, default=None)

    def _forget(self, now_ns: int) -> None:
        self._heard = {host: heard for host, heard in self._heard.items() if _is_recent(heard, now_ns)}


def _is_recent(heard: _Heard, now_ns: int) -> bool:
    return now_ns - heard.heard_ns < SILENCE_NS


def _is_of(host: str, clusters: Iterable[Cluster]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(
        prefix is not None and address in prefix for each in clusters for prefix in (each.ipv4, each.ipv6)
    )
