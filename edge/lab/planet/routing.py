"""Interim: static routes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from edge.lab.planet import addresses
from edge.lab.planet.layout import CitySite, HostSite, Layout, PopSite, RegionSite, Site, interface_to


@dataclass(frozen=True)
class NextHop:
    gateway: str
    interface: str


def _ip(ns: str, *words: str) -> None:
    six = ["-6"] if any(":" in w for w in words) else []
    subprocess.run(["ip", "-n", ns, *six, "route", "replace", *words], check=True)


def start_all(layout: Layout) -> None:
    own = {c.name: [addresses.clients(c.number)] for c in layout.cities}
    own |= {p.name: [addresses.pop_backbone(p.number), addresses.vips(p.number)] for p in layout.pops}
    own |= {r.name: [addresses.region_backbone(r.number)] for r in layout.regions}
    for router in layout.routers:
        for link, _ in layout.links_of(router.name):
            other = link.other(router.name)
            for pair in own[other]:
                for text, src in zip(
                    pair.with_lengths, router.client.both if isinstance(router, CitySite) else (None, None)
                ):
                    _ip(router.namespace, text, "dev", interface_to(other), *(["src", src] if src else []))
    for pop in layout.pops:
        for host in pop.hosts:
            for pair in host.backbones:
                for b, via in zip(pair.with_lengths, host.uplinks[0].both):
                    _ip(pop.namespace, b, "via", via)
            for dst, via in zip(("0.0.0.0/0", "::/0"), addresses.pop_router(pop.number).both):
                _ip(host.namespace, dst, "via", via)
        for pair in pop.announced:
            for text, via in zip(pair.with_lengths, pop.hosts[0].uplinks[0].both):
                _ip(pop.namespace, text, "via", via)
        _ip(pop.namespace, f"{pop.status.host}/32", "via", pop.hosts[0].uplinks[0].ipv4)


def start(site: HostSite) -> None: ...
def until_announced(site: HostSite) -> None: ...
def withdraw(site: HostSite | PopSite) -> None: ...
def announce(site: HostSite | PopSite) -> None: ...
def next_hops(site: Site, vip: str) -> list[NextHop]:
    return []
