"""What the fast path counts, as it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.service.metrics.exposition import render
from ebpf.tables import Tables
from ebpf.verdict import FAMILIES, REASONS, Count, Family, Reason
from edge.metrics.catalogue import FAST_PATH
from edge.metrics.fastpath import Counts, carried, collect, read
from edge.nexthops.unfollowed import Unfollowed, UnfollowedKind
from edge.relay.counters import Direction
from edge.relay.emergency import Emergency, EmergencyMode
from tests.edge.fastpath.rig import Rig
from tests.exposition import assert_is_catalogue, complaints


@dataclass
class Hops:
    usable: int = 2
    unfollowed: tuple[Unfollowed, ...] = (
        Unfollowed(UnfollowedKind.RULE, "one"),
        Unfollowed(UnfollowedKind.RULE, "another"),
    )

    def __len__(self) -> int:
        return 5


@dataclass
class Host:
    """As far as it is shown."""

    tables: Tables
    modes: dict[str, str] = field(default_factory=lambda: {"eth0": "native"})
    interfaces: tuple[str, ...] = ("eth0", "eth1")
    problems: tuple[str, ...] = ()
    nexthops: Hops = field(default_factory=Hops)
    emergency: Emergency = field(default_factory=lambda: Emergency(EmergencyMode.ON, 0))


def counts(**changes: Count) -> Counts:
    """Of IPv4, by the names of reasons; IPv6 has ten times as many."""
    found = {family: dict.fromkeys(REASONS, Count(0, 0)) for family in FAMILIES}
    for name, count in changes.items():
        found[Family.IPV4][Reason[name]] = count
        found[Family.IPV6][Reason[name]] = Count(10 * count.packets, 10 * (count.bytes + 20 * count.packets))
    return found


def test_bytes_that_were_carried_are_without_ip_and_udp() -> None:
    payload = 172
    found = counts(
        FORWARD_UP=Count(3, 3 * (payload + 28)), FORWARD_DOWN=Count(1, 28), PUNT_TOKEN=Count(9, 999)
    )
    assert carried(found, Direction.UPSTREAM) == Count(33, 33 * payload)
    assert carried(found, Direction.DOWNSTREAM) == Count(11, 0), "empty datagrams"


def test_without_a_fast_path_nothing_was_carried() -> None:
    assert carried(read(None), Direction.UPSTREAM) == Count(0, 0)
    assert read(None).keys() == set(FAMILIES)
    assert all(reasons.keys() == set(REASONS) for reasons in read(None).values())


def test_all_that_is_declared_is_shown(rig: Rig) -> None:
    host = Host(rig.tables)
    text = render(collect(host, read(rig.tables))).decode()
    assert_is_catalogue(text, FAST_PATH)
    assert complaints(text) == ""
    for line in (
        'voxpop_fastpath_attached{interface="eth0",mode="native"} 1',
        'voxpop_fastpath_attached{interface="eth0",mode="generic"} 0',
        'voxpop_fastpath_attached{interface="eth1",mode="native"} 0',
        'voxpop_fastpath_nexthops{state="usable"} 2',
        'voxpop_fastpath_nexthops{state="unusable"} 3',
        'voxpop_fastpath_routing_unfollowed{kind="rule"} 2',
        'voxpop_fastpath_routing_unfollowed{kind="vrf"} 0',
    ):
        assert line in text
