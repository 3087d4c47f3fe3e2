"""`python -m tests.edge.entry_churner PIN_DIR`: takes all clients' entries out of the index and puts them
back in another order, without a pause, until stdin speaks.

Their records stay, so entries change hands many times as often as a relay brings it about. Some clients
have the same bucket and tag, so that a packet of the one does find the other's entry.
"""

from __future__ import annotations

import random
import secrets
import select
import sys
from pathlib import Path

from ebpf.flows import FlowRecord
from ebpf.index import Index
from ebpf.layout import SLOT_BITS
from ebpf.tables import Tables
from tests.edge.churner import BACKBONES, CLIENTS, FIRST_PORT, ROUTE_UP, VIPS, client_of, transceiver_of

SLOTS = range(FIRST_PORT, FIRST_PORT + CLIENTS)


def write_records(tables: Tables) -> None:
    for version, vip in VIPS.items():
        for number, slot in enumerate(SLOTS):
            ends = client_of(number, version), transceiver_of(number, version)
            backbone = BACKBONES[version][0]
            tables.write_slot(
                FlowRecord(slot, ends[0], vip.id, vip.endpoint, backbone, ends[1], ROUTE_UP, ROUTE_UP)
            )


def make_some_meet(tables: Tables, index: Index) -> None:
    """Another seed, until in both families two clients have one tag in one bucket."""
    while not all(link_all_and_compare(tables, index, version) for version in VIPS):
        tables.config["index_seed"] = secrets.randbits(64) | 1


def link_all_and_compare(tables: Tables, index: Index, version: int) -> bool:
    buckets = tables.buckets[version]
    buckets[:] = 0
    for slot in SLOTS:
        index.link(version, slot)
    tags = [[entry >> SLOT_BITS for entry in bucket if entry] for bucket in buckets.tolist()]
    return any(len(set(each)) < len(each) for each in tags)


def churn(index: Index) -> int:
    """How many entries were put back."""
    put_back = 0
    slots = list(SLOTS)
    while not select.select([sys.stdin], [], [], 0)[0]:
        random.shuffle(slots)
        for version in VIPS:
            for slot in slots:
                index.unlink(version, slot)
            for slot in slots:
                index.link(version, slot)
            put_back += len(slots)
    return put_back


if __name__ == "__main__":
    opened, index_ = Tables(Path(sys.argv[1])), Index(Path(sys.argv[1]))
    write_records(opened)
    make_some_meet(opened, index_)
    sys.stdout.write("churning\n")
    sys.stdout.flush()
    sys.stdout.write(f"{churn(index_)}\n")
