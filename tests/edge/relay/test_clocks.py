"""Whose clock a relay believes, what it keeps of them, and when it is worth a word."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from core.clocks import http_date
from core.cluster import Cluster
from edge.relay.clocks import MAX_HOSTS, PAUSE_NS, SILENCE_NS, HostClocks

NOW_S = 1_900_000_000.0
CLUSTERS = [
    Cluster(1, IPv4Network("10.20.0.0/16"), IPv6Network("2001:db8:1::/64"), 1024, 2047),
    Cluster(2, None, IPv6Network("2001:db8:2::/64"), 1024, 2047),
]
NEAR = "10.20.0.1"


def hear(clocks: HostClocks, host: str, ahead_s: float, now_ns: int = 0) -> bool | None:
    return clocks.hear_untrusted(host, http_date(NOW_S + ahead_s), CLUSTERS, NOW_S, now_ns)


@pytest.mark.parametrize(
    ("host", "is_believed"),
    [
        (NEAR, True),
        ("2001:db8:2::7", True),
        ("::ffff:10.20.0.1", True),
        ("10.21.0.1", False),
        ("2001:db8:3::7", False),
        ("::ffff:10.21.0.1", False),
        ("", False),
        ("near", False),
    ],
)
def test_only_hosts_of_clusters_are_believed(host: str, is_believed: bool) -> None:
    clocks = HostClocks()
    assert hear(clocks, host, -7200) is (True if is_believed else None)
    assert list(clocks.off(0)) == ([host] if is_believed else [])
    assert (clocks.farthest_s(0) is None) is not is_believed


def test_what_is_no_date_says_nothing() -> None:
    clocks = HostClocks()
    assert clocks.hear_untrusted(NEAR, "soon", CLUSTERS, NOW_S, 0) is None
    assert clocks.farthest_s(0) is None


def test_it_is_told_once_when_clocks_part_and_once_when_they_agree() -> None:
    clocks = HostClocks()
    assert [hear(clocks, NEAR, ahead_s) for ahead_s in (0, 59, 7200, 7200)] == [None, None, True, None]
    assert hear(clocks, "10.20.0.2", -9000) is None, "one line is enough for a relay's own fault"
    assert list(clocks.off(0).values()) == pytest.approx([-9000, 7200], abs=1.5)
    assert clocks.farthest_s(0) == pytest.approx(-9000, abs=1.5)
    assert hear(clocks, NEAR, 0, PAUSE_NS) is False, "the other has been silent for as long"


def test_a_clock_that_jumps_to_and_fro_fills_no_log() -> None:
    clocks = HostClocks()
    told = [hear(clocks, NEAR, 7200 * (step % 2), step * PAUSE_NS // 100) for step in range(1, 1001)]
    assert len([each for each in told if each is not None]) <= 11
    assert True in told
    assert False in told


def test_of_a_silent_host_nothing_is_known_any_more() -> None:
    clocks = HostClocks()
    hear(clocks, NEAR, 7200)
    assert clocks.off(SILENCE_NS - 1)
    assert clocks.off(SILENCE_NS) == {}
    assert clocks.farthest_s(SILENCE_NS) is None


def test_hosts_are_bounded_and_their_places_free_again() -> None:
    clocks = HostClocks()
    for number in range(MAX_HOSTS + 10):
        hear(clocks, f"10.20.{number // 256}.{number % 256}", 7200)
    assert len(clocks.off(0)) == MAX_HOSTS
    assert hear(clocks, "10.20.0.0", 0) is None, "who is known is heard"
    assert len(clocks.off(0)) == MAX_HOSTS - 1
    hear(clocks, "10.20.9.9", 7200, SILENCE_NS)
    assert list(clocks.off(SILENCE_NS)) == ["10.20.9.9"]
