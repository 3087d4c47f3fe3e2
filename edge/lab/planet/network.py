"""The namespaces of a planet, and everything between them but the routes, which are BIRD's.

    city ═════╗                    ╔═════ PoP's router ── lan0 (a bridge) ──┬── eth0 of host 1
      eth0    ╠═ TUN devices, WAN ═╣                                        ├── eth0 of host 2
    city ═════╝                    ╚═════ region's router ── lan0 ── …      └── eth0 of a Redis

Hosts are behind a bridge, as behind a switch: a router does not see the carrier of a host go.
"""

from __future__ import annotations

from core.service import interrupt
from ebpf.net import netns, tun
from ebpf.net.netns import Wiring
from edge.lab.planet import addresses
from edge.lab.planet.addresses import Pair
from edge.lab.planet.layout import (
    CitySite,
    HostSite,
    Layout,
    PopSite,
    RedisSite,
    RegionSite,
    TransceiverSite,
    interface_to,
)

_NO_LINK_ADDRESS = 1
"""IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: an interface has the link-local address that it is given."""
ROUTER_OPTIONS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv4/fib_multipath_hash_policy": 1,  # spread by addresses and ports
    "net/ipv6/fib_multipath_hash_policy": 1,
    "net/ipv4/conf/all/rp_filter": 0,  # the way back may be another
    "net/ipv4/conf/default/rp_filter": 0,
}
HOST_OPTIONS = {key: value for key, value in ROUTER_OPTIONS.items() if "hash_policy" in key or "rp_" in key}
LAN, CLIENT, PORT = "lan", "eth0", "eth0"
DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")


def build(layout: Layout) -> None:
    """Make all of it. Raises DataplaneError, or KeyboardInterrupt when a postponed signal comes; what was
    made by then is in these namespaces, and goes with them.
    """
    for name in namespaces(layout):
        interrupt.check()
        netns.create(name)
    for router in layout.routers:
        interrupt.check()
        _build_router(layout, router)
    for city in layout.cities:
        with Wiring(city.namespace) as wiring:
            wiring.veth(CLIENT, "client", city.namespace)  # a pair whose other end nobody listens at
            wiring.up("client")
            _give(wiring, CLIENT, city.client)
    for host in layout.relay_hosts:
        interrupt.check()
        _build_relay_host(host)
    for transceiver in layout.transceiver_hosts:
        gateway = addresses.region_router(transceiver.region.number)
        _plug(transceiver.region, transceiver.port, transceiver, transceiver.address, gateway)
    for redis in layout.redis:
        of = addresses.pop_router if isinstance(redis.behind, PopSite) else addresses.region_router
        _plug(redis.behind, redis.port, redis, redis.address, of(redis.behind.number))


def namespaces(layout: Layout) -> list[str]:
    """Of all places, and of the WAN's process, which needs none but is found by it."""
    return [*(site.namespace for site in layout.sites()), layout.wan.namespace]


def _set(namespace: str, options: dict[str, int]) -> None:
    for option, value in options.items():
        netns.set_option(namespace, option, value)


def _give(wiring: Wiring, interface: str, pair: Pair) -> None:
    wiring.up(interface)
    for address in pair.with_lengths:
        wiring.address(interface, address)


def _build_router(layout: Layout, router: CitySite | PopSite | RegionSite) -> None:
    _set(router.namespace, ROUTER_OPTIONS)
    for link, end in layout.links_of(router.name):
        interface = interface_to(link.other(router.name))
        tun.create(router.namespace, interface)
        netns.set_option(router.namespace, f"net/ipv6/conf/{interface}/addr_gen_mode", _NO_LINK_ADDRESS)
        with Wiring(router.namespace) as wiring:
            wiring.up(interface)
            wiring.address(interface, f"{addresses.link_local(end)}/64")
    if isinstance(router, PopSite):
        for uplink in range(router.spec.uplinks):
            _make_lan(router, uplink, addresses.pop_router(router.number, uplink))
    elif isinstance(router, RegionSite):
        _make_lan(router, 0, addresses.region_router(router.number))


def _make_lan(router: PopSite | RegionSite, number: int, address: Pair) -> None:
    """A bridge with a port that nothing is plugged into: it has a carrier whatever becomes of hosts."""
    bridge, spare, end = f"{LAN}{number}", f"spare{number}", f"open{number}"
    with Wiring(router.namespace) as wiring:
        wiring.bridge(bridge)
        wiring.veth(spare, end, router.namespace)
        wiring.join(spare, bridge)
        wiring.up(spare)
        wiring.up(end)
        _give(wiring, bridge, address)


def _build_relay_host(host: HostSite) -> None:
    _set(host.namespace, HOST_OPTIONS)
    for number, (interface, address) in enumerate(zip(host.interfaces, host.uplinks, strict=True)):
        _cable(host.pop, number, host.ports[number], host, interface)
        with Wiring(host.namespace) as wiring:
            for text in address.with_lengths:
                wiring.address(interface, text)
    with Wiring(host.namespace) as wiring:
        for pair in (*host.backbones, *host.pop.vips):
            for text in pair.with_lengths:
                wiring.address("lo", text)
        wiring.address("lo", f"{host.pop.status.host}/32")


def _plug(
    router: PopSite | RegionSite, port: str, site: TransceiverSite | RedisSite, address: Pair, gateway: Pair
) -> None:
    """Put a host behind a router that is its way to everything."""
    _cable(router, 0, port, site, PORT)
    with Wiring(site.namespace) as wiring:
        for text in address.with_lengths:
            wiring.address(PORT, text)
        for destination, via in zip(DEFAULT_ROUTES, gateway.both, strict=True):
            wiring.route(destination, via)


def _cable(
    router: PopSite | RegionSite,
    lan: int,
    port: str,
    site: HostSite | TransceiverSite | RedisSite,
    interface: str,
) -> None:
    with Wiring(router.namespace) as wiring:
        wiring.veth(port, interface, site.namespace)
        wiring.join(port, f"{LAN}{lan}")
    plug_in(router, port)
    with Wiring(site.namespace) as wiring:
        wiring.up(interface)
        wiring.prepare_for_xdp(interface)
    plug_in(router, port)


def plug_in(router: PopSite | RegionSite, port: str) -> None:
    """Switch a port of a router's bridge on, fit for XDP at its other end."""
    with Wiring(router.namespace) as wiring:
        wiring.up(port)
        wiring.prepare_for_xdp(port)


def unplug(router: PopSite | RegionSite, port: str) -> None:
    """Switch it off: the router's own interface is the bridge, which stays as it is."""
    with Wiring(router.namespace) as wiring:
        wiring.down(port)
