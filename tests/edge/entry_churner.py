"""`python -m tests.edge.entry_churner PIN_DIR`: no longer leads any client to its flow, and then all of them
again, in another order, without a pause, until stdin speaks.

Their records stay, so entries change hands many times as often as a relay brings it about. Every other
client's slot is in its group, if there is room; some clients have the same group or bucket, and the same tag,
so that a packet of the one does find the other's slot.
"""

from __future__ import annotations

import random
import secrets
import select
import sys
from pathlib import Path

from core.addr import IpFamily
from ebpf.flows import FlowRecord
from ebpf.ids import NatSlot, TransceiverId
from ebpf.index import Index
from ebpf.layout import GROUP_SLOTS, SLOT_BITS, SLOT_OFF
from ebpf.tables import Tables
from tests.edge.churner import (
    CLIENTS,
    FIRST_PORT,
    GROUPS,
    ROUTE_UP,
    VIPS,
    client_of,
    transceiver_of,
)

SEEDS = 1000
Slots = dict[IpFamily, list[NatSlot]]
"""In the order of the clients."""


def choose_slots(index: Index) -> Slots:
    elsewhere = FIRST_PORT + GROUPS * GROUP_SLOTS
    slots: Slots = {}
    for version in VIPS:
        slots[version] = []
        for number in range(CLIENTS):
            group = next(index.groups(client_of(number, version)))
            free = set(range(group, group + GROUP_SLOTS)) - set(slots[version])
            slots[version].append(NatSlot(min(free) if free and number % 2 else elsewhere + number))
    return slots


def write_records(tables: Tables, slots: Slots) -> None:
    for version, vip in VIPS.items():
        for number, slot in enumerate(slots[version]):
            ends = client_of(number, version), transceiver_of(number, version)
            transceiver_id = TransceiverId(number + 1)
            tables.set_transceiver(transceiver_id, ends[1], ROUTE_UP)
            tables.write_slot(FlowRecord(slot, ends[0], vip.id, ends[1], transceiver_id, ROUTE_UP))


def make_some_meet(tables: Tables, index: Index) -> Slots:
    """Another seed, until in both families two clients have one tag in one bucket, and two in one group."""
    for _ in range(SEEDS):
        slots = choose_slots(index)
        write_records(tables, slots)
        if all(link_all_and_compare(tables, index, version, slots[version]) for version in VIPS):
            return slots
        for version in VIPS:
            for slot in slots[version]:
                tables.set_slot_state(version, slot, SLOT_OFF)
        tables.config["index_seed"] = secrets.randbits(64) | 1
    raise RuntimeError(f"nobody met by {SEEDS} seeds")


def link_all_and_compare(tables: Tables, index: Index, version: IpFamily, slots: list[NatSlot]) -> bool:
    groups, buckets = tables.groups[version], tables.buckets[version]
    groups[:], buckets[:] = 0, 0
    for slot in slots:
        index.link(version, slot)
    in_group = [[tag for tag in group if tag] for group in groups[:GROUPS].tolist()]
    elsewhere = [[entry >> SLOT_BITS for entry in bucket if entry] for bucket in buckets.tolist()]
    return all(any(len(set(tags)) < len(tags) for tags in each) for each in (in_group, elsewhere))


def churn(index: Index, slots: Slots) -> int:
    """How many entries were put back."""
    put_back = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for version, numbers in slots.items():
            random.shuffle(numbers)
            for slot in numbers:
                index.unlink(version, slot)
            for slot in numbers:
                index.link(version, slot)
            put_back += len(numbers)
    return put_back


if __name__ == "__main__":
    opened, index_ = Tables(Path(sys.argv[1])), Index(Path(sys.argv[1]))
    met = make_some_meet(opened, index_)
    sys.stdout.write("churning\n")
    sys.stdout.flush()
    sys.stdout.write(f"{churn(index_, met)}\n")
