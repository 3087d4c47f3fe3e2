"""What the fast path counts, as metrics. Its counters are in pinned maps: no restart sets them back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from core.service.metrics.exposition import Family, by_label, family
from ebpf.verdict import FAMILIES, REASONS, Count, Reason
from ebpf.verdict import Family as IpFamily
from edge.metrics.catalogue import ATTACHED, BYTES, EMERGENCY, MODES, NEXTHOPS, PACKETS, UNFOLLOWED
from edge.metrics.status import FastPathStatus
from edge.nexthops.unfollowed import UnfollowedKind
from edge.relay.counters import Direction
from edge.relay.emergency import EmergencyCause

if TYPE_CHECKING:
    from ebpf.tables import Tables

Counts = Mapping[IpFamily, Mapping[Reason, Count]]

HEADER_BYTES = {IpFamily.NONE: 0, IpFamily.IPV4: 28, IpFamily.IPV6: 48}
"""Of IP and UDP: what is forwarded has neither options nor extension headers."""
_FORWARDED = {Direction.UPSTREAM: Reason.FORWARD_UP, Direction.DOWNSTREAM: Reason.FORWARD_DOWN}


def carried(counts: Counts, direction: Direction) -> Count:
    """Packets that the fast path forwarded in a direction, and bytes of UDP payload."""
    rows = [(HEADER_BYTES[family], counts[family][_FORWARDED[direction]]) for family in FAMILIES]
    packets = sum(count.packets for _, count in rows)
    return Count(packets, sum(count.bytes - header * count.packets for header, count in rows))


def read(tables: Tables | None) -> Counts:
    """The counters; all 0 where there is no fast path."""
    if tables is None:
        return {family: dict.fromkeys(REASONS, Count(0, 0)) for family in FAMILIES}
    return tables.counts()


def collect(host: FastPathStatus, counts: Counts) -> Iterator[Family]:
    """Every metric of the fast path itself."""
    rows = {(reason, name): count for name, reasons in counts.items() for reason, count in reasons.items()}
    yield family(PACKETS, {row: count.packets for row, count in rows.items()})
    yield family(BYTES, {row: count.bytes for row, count in rows.items()})
    usable = host.nexthops.usable
    yield by_label(NEXTHOPS, {"usable": usable, "unusable": len(host.nexthops) - usable})
    unfollowed = Counter(each.kind for each in host.nexthops.unfollowed)
    yield by_label(UNFOLLOWED, {kind: unfollowed[kind] for kind in UnfollowedKind})
    cause = host.emergency.cause
    yield by_label(EMERGENCY, {each: int(each is cause) for each in EmergencyCause})
    modes = host.modes
    yield family(
        ATTACHED,
        {(name, mode): int(modes.get(name) == mode) for name in host.interfaces for mode in MODES},
    )
