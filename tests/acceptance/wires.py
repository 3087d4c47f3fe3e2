"""The network around the machines: a switch, two routers and a client in namespaces of this machine.

    client ── upstream ── router ──[public]──── PoP
                         /  │  └───[backbone]── PoP
                   second   └──────[region]──── region host

Addresses are those of the example inventory of `ansible/`, so that it is what is played. Which way VIPs and
signaling are is configured nowhere: the router learns it from the PoP by BGP, the upstream from the router
(`speakers.py`). The second announces the VIPs too, from further away, and answers pings. The bridges are in a
namespace of their own: the router's links stay up when a machine dies, as at a switch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ebpf.net import netns
from ebpf.net.netns import Wiring
from tests.acceptance.machine import Wire

PLACES = SWITCH, ROUTER, UPSTREAM, SECOND, CLIENT = tuple(
    f"voxpop-acceptance-{name}" for name in ("switch", "router", "upstream", "second", "client")
)
LINKS = {"public": "172.16.1.1", "backbone": "10.10.1.254", "region": "10.20.0.254"}
"""The router's address at each."""
ROUTER_TRANSIT, UPSTREAM_TRANSIT = "172.31.0.1", "172.31.0.2"
SECOND_TTL = 32
"""By which its answers are told from those of the PoP, which have 64."""
ROUTER_ASIDE, SECOND_ASIDE = "172.31.1.1", "172.31.1.2"
CLIENTS, CLIENT_GATEWAY, CLIENT_ADDRESS = "198.18.0.0/24", "198.18.0.254", "198.18.0.1"
POP_PUBLIC, POP_BACKBONE, REGION = "172.16.1.2", "10.10.1.1", "10.20.0.1"
VIP, VIP_PREFIX = "198.51.100.1", "198.51.100.0/24"
SIGNALING_ADDRESS, SIGNALING_PREFIX = "192.0.2.1", "192.0.2.0/24"
METRICS, SIGNALING = f"http://{POP_BACKBONE}:9464", f"https://{SIGNALING_ADDRESS}"

POP_WIRES = (
    Wire(SWITCH, "public", "public-pop", "52:54:00:00:01:01"),
    Wire(SWITCH, "backbone", "backbone-pop", "52:54:00:00:02:01"),
)
REGION_WIRES = (Wire(SWITCH, "region", "region-host", "52:54:00:00:03:01"),)

_NETWORK = "[Match]\nName={interface}\n\n[Network]\nAddress={address}/24\nIPv6AcceptRA=no\n"
_ROUTE = "\n[Route]\nGateway={gateway}\nDestination={destination}\n"


def _network(interface: str, address: str, gateway: str, *destinations: str) -> str:
    routes = (_ROUTE.format(gateway=gateway, destination=each) for each in destinations)
    return _NETWORK.format(interface=interface, address=address) + "".join(routes)


# What is there before Voxpop is: somebody has given the interfaces their addresses.
POP_NETWORK = {
    "20-public.network": _network("enp0s3", POP_PUBLIC, LINKS["public"], CLIENTS),
    "30-backbone.network": _network("enp0s4", POP_BACKBONE, LINKS["backbone"], "10.20.0.0/24"),
}
REGION_NETWORK = {"20-region.network": _network("enp0s3", REGION, LINKS["region"], "10.10.1.0/24")}


@contextlib.contextmanager
def wired() -> Iterator[None]:
    """All of it, meanwhile. Raises DataplaneError."""
    remove()
    try:
        _build()
        yield
    finally:
        remove()


def _build() -> None:
    for name in PLACES:
        netns.create(name)
    with Wiring(SWITCH) as switch, Wiring(ROUTER) as router, Wiring(UPSTREAM) as upstream:
        for bridge, address in LINKS.items():
            switch.bridge(bridge)
            switch.veth(f"{bridge}-router", bridge, ROUTER)
            switch.join(f"{bridge}-router", bridge)
            switch.up(f"{bridge}-router")
            switch.up(bridge)
            _give(router, bridge, address)
        router.veth("transit", "transit", UPSTREAM)
        _give(router, "transit", ROUTER_TRANSIT)
        _give(upstream, "transit", UPSTREAM_TRANSIT)
        upstream.veth("clients", "eth0", CLIENT)
        _give(upstream, "clients", CLIENT_GATEWAY)
        router.veth("aside", "aside", SECOND)
        _give(router, "aside", ROUTER_ASIDE)
    with Wiring(SECOND) as second:
        _give(second, "aside", SECOND_ASIDE)
        second.address("lo", f"{VIP}/32")
        second.up("lo")
        second.route("0.0.0.0/0", ROUTER_ASIDE)
    with Wiring(CLIENT) as client:
        _give(client, "eth0", CLIENT_ADDRESS)
        client.route("0.0.0.0/0", CLIENT_GATEWAY)
    netns.set_option(SECOND, "net/ipv4/ip_default_ttl", SECOND_TTL)
    for name in (ROUTER, UPSTREAM):
        netns.set_option(name, "net/ipv4/ip_forward", 1)


def _give(wiring: Wiring, interface: str, address: str) -> None:
    wiring.address(interface, f"{address}/24")
    wiring.up(interface)


def remove() -> None:
    """Remove what there is of it. Idempotent."""
    for name in PLACES:
        netns.remove(name)
