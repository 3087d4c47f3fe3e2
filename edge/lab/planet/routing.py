"""Who routes what in a planet: BIRD on every router and every PoP host, each with its configuration.

Cities, PoPs and regions speak eBGP over the WAN and announce what is their own, each by an AS of its own;
of two PoPs that share a VIP the one behind the faster link is preferred. Hosts of a PoP speak iBGP with its
router: VIPs come by what announces them, and go by what several hosts do (ECMP).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from core.config import AnnounceSettings
from ebpf.net import netns
from ebpf.net.attach import Netdev
from edge.lab.bird.config import Host, Peer, Router, render_host, render_router
from edge.lab.planet import addresses
from edge.lab.planet.addresses import Pair
from edge.lab.planet.layout import CitySite, HostSite, Layout, PopSite, RegionSite, Site, interface_to

CONFIG, SOCKET, LOG = "bird.conf", "bird.sock", "bird.log"
_AS = {"city": 64512, "pop": 64600, "region": 64700}
"""Private ones (RFC 6996), to which the number of a place is added."""
_MOST_PREFERENCE = 1_000_000


def configuration(layout: Layout, site: Site, withheld: tuple[str, ...] = ()) -> str | None:
    """What BIRD is told in a place; None where there is none. `withheld` are prefixes of VIPs that a router
    announces to nobody.
    """
    if isinstance(site, HostSite):
        return render_host(_host(site))
    if isinstance(site, CitySite | PopSite | RegionSite):
        return render_router(_router(layout, site, withheld))
    return None


def _router(layout: Layout, site: CitySite | PopSite | RegionSite, withheld: tuple[str, ...]) -> Router:
    wan = tuple(_wan_peers(layout, site))
    if isinstance(site, CitySite):
        own, client = addresses.clients(site.number), site.client
        return Router(client.ipv4, _asn(site.name, site.number), own.with_lengths, wan, sources=client.both)
    if isinstance(site, RegionSite):
        own, router = addresses.region_backbone(site.number), addresses.region_router(site.number)
        return Router(router.ipv4, _asn(site.name, site.number), own.with_lengths, wan, sources=router.both)
    own, router = addresses.pop_backbone(site.number), addresses.pop_router(site.number)
    return Router(
        router.ipv4,
        _asn(site.name, site.number),
        own.with_lengths,
        wan,
        vips=_texts(site.announced),
        hosts=tuple(_host_peers(site)),
        withheld=withheld,
        sources=router.both,
    )


def _wan_peers(layout: Layout, site: CitySite | PopSite | RegionSite) -> Iterator[Peer]:
    numbers = {router.name: router.number for router in layout.routers}
    for link, end in layout.links_of(site.name):
        other = link.other(site.name)
        yield Peer(
            name=other.replace("-", "_"),
            address=addresses.link_local(1 - end),
            asn=_asn(other, numbers[other]),
            interface=interface_to(other),
            preference=max(0, _MOST_PREFERENCE - round(1000 * link.delay_ms)),
        )


def _host_peers(pop: PopSite) -> Iterator[Peer]:
    for host in pop.hosts:
        for uplink, pair in enumerate(host.uplinks):
            for address in pair.both:
                name = f"host{host.number}_{uplink}_ipv{ip_address(address).version}"
                yield Peer(name, address, _asn(pop.name, pop.number))


def _host(site: HostSite) -> Host:
    pop = site.pop
    asn = _asn(pop.name, pop.number)
    routers = [
        Peer(f"router{uplink}_ipv{ip_address(address).version}", address, asn)
        for uplink in range(pop.spec.uplinks)
        for address in addresses.pop_router(pop.number, uplink).both
    ]
    return Host(
        router_id=site.uplinks[0].ipv4,
        asn=asn,
        routers=tuple(routers),
        always=_texts(site.backbones),
        while_up=(*_texts(pop.announced), f"{pop.status.host}/32"),
        interface=AnnounceSettings().interface,
        sources=site.backbones[0].both,
    )


def _texts(pairs: Iterator[Pair] | list[Pair] | tuple[Pair, ...]) -> tuple[str, ...]:
    return tuple(text for pair in pairs for text in pair.with_lengths)


def _asn(place: str, number: int) -> int:
    return _AS[place.partition("-")[0]] + number


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a route leads."""

    interface: str
    gateway: str | None
    """None where that is on the link itself."""


def next_hops(site: Site, address: str) -> list[NextHop]:
    """Where the kernel of a place sends packets for an address now; none where it has no route, or one that
    refuses. Raises DataplaneError.
    """
    host = ip_address(address)
    with netns.inside(site.namespace), Netdev() as netdev:
        names = {link.number: link.name for link in netdev.links()}
        fitting = [route for route in netdev.routes() if host in route.prefix]
    if not fitting:
        return []
    best = min(fitting, key=lambda route: (-route.prefix.prefixlen, route.metric))
    return [NextHop(names[leg.link], leg.gateway) for leg in best.legs if leg.link in names]
