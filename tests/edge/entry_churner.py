"""`python -m tests.edge.entry_churner PIN_DIR`: takes two clients' entries out of the look-up table and puts
them back without a pause, until stdin speaks.

Their records stay. The kernel gives the element that was freed last to the next entry, so each client gets
the one that a packet of the other's may be reading, hundreds of times as often as a relay brings it about.
"""

from __future__ import annotations

import select
import sys
from ctypes import byref
from pathlib import Path

from ebpf import layout
from ebpf.flows import FlowRecord
from ebpf.libbpf import ANY, library
from ebpf.tables import Tables, flow4_key, flow6_key
from tests.edge.churner import BACKBONES, FIRST_PORT, ROUTE_UP, VIPS, client_of, transceiver_of

CLIENTS = 2
ROUNDS = 50
"""Between two looks at stdin."""


def write_records(tables: Tables) -> None:
    for version, vip in VIPS.items():
        for number in range(CLIENTS):
            ends = client_of(number, version), transceiver_of(number, version)
            backbone = BACKBONES[version][0]
            slot = FIRST_PORT + number
            tables.write_slot(
                FlowRecord(slot, ends[0], vip.id, vip.endpoint, backbone, ends[1], ROUTE_UP, ROUTE_UP)
            )


def churn(tables: Tables) -> int:
    """How many entries were put back."""
    update, delete = library().bpf_map_update_elem, library().bpf_map_delete_elem
    values = [byref(layout.FlowValue(FIRST_PORT + number, 0)) for number in range(CLIENTS)]
    entries = []
    for version, table, key_of in ((4, tables.flows4, flow4_key), (6, tables.flows6, flow6_key)):
        keys = [byref(key_of(client_of(number, version), VIPS[version].id)) for number in range(CLIENTS)]
        entries.append((table.fd, list(zip(keys, values, strict=True))))
    put_back = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for fd, pairs in entries * ROUNDS:
            for key, _ in pairs:
                delete(fd, key)
            for key, value in pairs:
                put_back += update(fd, key, value, ANY) == 0
    return put_back


if __name__ == "__main__":
    opened = Tables(Path(sys.argv[1]))
    write_records(opened)
    sys.stdout.write("churning\n")
    sys.stdout.flush()
    sys.stdout.write(f"{churn(opened)}\n")
