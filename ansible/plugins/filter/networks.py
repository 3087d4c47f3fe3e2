"""Questions about addresses that an inventory has to answer before anything is touched."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

DOCUMENTATION = """
name: overlapping
short_description: Pairs of networks that overlap
description: Of a list of prefixes, each pair that has addresses in common, as text.
options:
  _input:
    description: Prefixes such as 10.2.0.0/24; both families may be among them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
overlaps: "{{ ['10.0.0.0/8', '10.2.0.0/24', '2001:db8::/48'] | voxpop.edge.overlapping }}"
"""

RETURN = """
_value:
  description: Such as "10.0.0.0/8 and 10.2.0.0/24".
  type: list
  elements: str
"""


def overlapping(prefixes: Iterable[str]) -> list[str]:
    """Pairs of prefixes that have addresses in common. ValueError for what is no prefix."""
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]
    return [
        f"{one} and {two}"
        for one, two in combinations(networks, 2)
        if one.version == two.version and one.overlaps(two)
    ]


def shared_vips(hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """VIPs that hosts of several PoPs have, where not all of them say that it is anycast.

    `hosts` is host → its `edge_pop`, `edge_vips` and `edge_anycast`.
    """
    found: dict[str, dict[str, bool]] = {}
    for host in hosts.values():
        for vip in host.get("edge_vips") or ():
            pops = found.setdefault(str(vip), {})
            is_anycast = bool(host.get("edge_anycast", False))
            pops[str(host["edge_pop"])] = pops.get(str(host["edge_pop"]), True) and is_anycast
    return [
        f"{vip} ({', '.join(sorted(pops))})"
        for vip, pops in sorted(found.items())
        if len(pops) > 1 and not all(pops.values())
    ]


def uncovered(addresses: Iterable[str], prefixes: Iterable[str]) -> list[str]:
    """Addresses that are in none of the prefixes. ValueError for what is neither."""
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]
    return [each for each in addresses if not any(ipaddress.ip_address(each) in one for one in networks)]


def of_version(prefixes: Iterable[str], version: int) -> list[str]:
    """Prefixes and addresses of a family, as prefixes. ValueError for what is none."""
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]
    return [str(network) for network in networks if network.version == version]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Any]:
        """By name."""
        return {
            "overlapping": overlapping,
            "shared_vips": shared_vips,
            "uncovered": uncovered,
            "of_version": of_version,
        }
