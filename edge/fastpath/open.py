"""Opening the `xdp` forwarder of one worker: its part of the tables, with all that is in them already."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.addr import Endpoint
from ebpf.clock import SeenClock
from ebpf.index import Index
from ebpf.layout import PORTS
from ebpf.tables import Tables
from edge.fastpath.forwarder import XdpForwarder
from edge.fastpath.nat_slots import Slots, share_ports
from edge.fastpath.transceiver_ids import Transceivers
from edge.relay.counters import Counters


def open_forwarder(
    told: Any,  # noqa: ANN401 - JSON of our own making, `XdpHost.message`
    vips: Sequence[Endpoint],
    share: tuple[int, int],
    max_flows: int,
    idle_timeout_ns: int,
    counters: Counters,
    ask: Callable[[list[str]], None],
) -> XdpForwarder:
    """The forwarder of worker `share[0]` of `share[1]`. Raises DataplaneError, PermissionError."""
    pin_dir = Path(told["pin_dir"])
    tables, index, clock = Tables(pin_dir), Index(pin_dir), SeenClock(pin_dir)
    backbones = {version: dict(told["backbones"][str(version)]) for version in (4, 6)}
    slots = {
        version: _adopt(tables, clock, version, hosts, vips, told["nat_ports"], share)
        for version, hosts in backbones.items()
    }
    now_ns = time.monotonic_ns()
    transceivers = {version: Transceivers(tables, version, share, now_ns) for version in slots}
    vip_ids: list[int] = told["vip_ids"]
    assert len(vip_ids) == len(vips), "one for each"
    forwarder = XdpForwarder(
        tables,
        index,
        clock,
        slots,
        vip_ids,
        backbones,
        transceivers,
        max_flows,
        idle_timeout_ns,
        counters,
        ask,
    )
    forwarder.set_dscp(told["dscp_upstream"])
    return forwarder


def _adopt(
    tables: Tables,
    clock: SeenClock,
    version: int,
    hosts: dict[int, str],
    vips: Sequence[Endpoint],
    nat_ports: tuple[int, int],
    share: tuple[int, int],
) -> Slots:
    taken = frozenset(
        index * PORTS + vip.port for index, host in hosts.items() for vip in vips if vip.host == host
    )
    ranges = share_ports(sorted(hosts), *nat_ports, *share)
    slots = Slots(tables.records[version], ranges, taken, clock)
    slots.adopt(tables.marks[version], time.monotonic_ns())
    return slots
