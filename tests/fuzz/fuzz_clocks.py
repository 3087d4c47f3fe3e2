"""Fuzz what hosts say of their clocks: `ahead_s_untrusted` and `HostClocks.hear_untrusted`.

Invariant: any `Date`, from any host, is a finite number of seconds or nothing; only hosts of a cluster are
kept, a bounded number of them; and what is worth a line in the log alternates.
"""

from __future__ import annotations

import math
from ipaddress import IPv4Network

from core.clocks import ahead_s_untrusted, describe
from core.cluster import Cluster
from edge.relay.clocks import MAX_HOSTS, PAUSE_NS, HostClocks

_NOW_S = 1_800_000_000.0
_CLUSTERS = [Cluster(7, IPv4Network("10.20.0.0/16"), None, 40000, 40007)]
_SEPARATOR = b"\n"


def test_one_input(data: bytes) -> None:
    """Each line of the input is a `Date` from another host, whose last byte is the line's first."""
    clocks, told = HostClocks(), list[bool]()
    for number, line in enumerate(data.split(_SEPARATOR)):
        date = line[1:].decode("latin-1")
        ahead_s = ahead_s_untrusted(date, _NOW_S)
        if ahead_s is not None:
            assert math.isfinite(ahead_s)
            assert describe(ahead_s)
        host = f"10.{20 if number % 2 else 21}.{number // 256 % 256}.{line[0] if line else 0}"
        said = clocks.hear_untrusted(host, date, _CLUSTERS, _NOW_S, number * PAUSE_NS)
        told += [] if said is None else [said]
        assert len(clocks.off(number * PAUSE_NS)) <= MAX_HOSTS
        assert all(each.startswith("10.20.") for each in clocks.off(number * PAUSE_NS))
    assert told == [index % 2 == 0 for index in range(len(told))]
