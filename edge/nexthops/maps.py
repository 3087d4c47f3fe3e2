"""Next hops as the pinned maps have them."""

from __future__ import annotations

import numpy as np

from core.addr import IpFamily
from ebpf import layout
from ebpf.ids import EgressId, NextHopId
from ebpf.tables import Adjacency, Tables


def written_adjacencies(tables: Tables) -> dict[NextHopId, Adjacency]:
    """Those of the usable next hops, as the program has them."""
    records = tables.config["nexthop"]
    live = records["adjacency"][np.arange(len(records)), records["live"] & 1]
    return {NextHopId(int(n)): _adjacency(live[n]) for n in np.flatnonzero(live["usable"])}


def nexthops_in_use(tables: Tables) -> set[NextHopId]:
    """Those of live flows, and of transceivers; without flows as well: their next flow will have it."""
    up = [rows["common"]["nexthop"] for rows in tables.transceivers.values()]
    down = [
        tables.records[family][layout.DOWNSTREAM]["common"]["nexthop"][tables.live(family)]
        for family in IpFamily
    ]
    found = (np.flatnonzero(np.bincount(each)) for each in (*up, *down))  # np.unique sorts
    return {NextHopId(int(n)) for each in found for n in each}


def write_defaults(tables: Tables) -> None:
    """Name the next hops that most flows have, which the program is soonest done with."""
    defaults = tables.config["default_nexthop"]
    for row, family in enumerate(IpFamily):
        both = tables.nexthops(family, tables.live(family))
        found = [int(np.bincount(hops).argmax()) if len(hops) else 0 for hops in both]
        if defaults[row].tolist() != found:  # each packet reads what lies around this
            defaults[row] = found


def _adjacency(record: np.void) -> Adjacency:
    macs = record["macs"].tobytes()
    words = [int.from_bytes(word.tobytes(), "big") for word in record["tags"]]
    tags = tuple((words[2 * n], words[2 * n + 1]) for n in range(int(record["tag_count"])))
    return Adjacency(macs[:6], macs[6:], int(record["mtu"]), EgressId(int(record["egress"])), tags)
