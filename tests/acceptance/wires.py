"""The network around the machines: a switch, a router and a client in namespaces of this machine.

    client ── router ──[public]──── PoP, the VIP on its loopback interface
                │  └───[backbone]── PoP
                └──────[region]──── region host

Addresses are those of the example inventory of `ansible/`, so that it is what is played. The bridges are in a
namespace of their own: the router's links stay up when a machine dies, as at a switch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ebpf.net import netns
from ebpf.net.netns import Wiring
from tests.acceptance.machine import Wire

SWITCH, ROUTER, CLIENT = (f"voxpop-acceptance-{name}" for name in ("switch", "router", "client"))
ROUTERS = {
    "public": "100.64.0.254",
    "backbone": "10.10.1.254",
    "region": "10.20.0.254",
    "client": "192.0.2.254",
}
CLIENTS, CLIENT_ADDRESS = "192.0.2.0/24", "192.0.2.1"
POP_PUBLIC, POP_BACKBONE, REGION = "100.64.0.1", "10.10.1.1", "10.20.0.1"
VIP, METRICS, SIGNALING = "198.51.100.1", f"http://{POP_BACKBONE}:9464", f"http://{REGION}:8080"

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
    "20-public.network": _network("enp0s3", POP_PUBLIC, ROUTERS["public"], CLIENTS),
    "30-backbone.network": _network("enp0s4", POP_BACKBONE, ROUTERS["backbone"], "10.20.0.0/24"),
}
REGION_NETWORK = {
    "20-region.network": _network("enp0s3", REGION, ROUTERS["region"], "10.10.1.0/24", CLIENTS),
}


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
    for name in (SWITCH, ROUTER, CLIENT):
        netns.create(name)
    with Wiring(SWITCH) as switch, Wiring(ROUTER) as router:
        for bridge in ("public", "backbone", "region"):
            switch.bridge(bridge)
            switch.veth(f"{bridge}-router", bridge, ROUTER)
            switch.join(f"{bridge}-router", bridge)
            switch.up(f"{bridge}-router")
            switch.up(bridge)
        router.veth("client", "eth0", CLIENT)
        for link, address in ROUTERS.items():
            router.address(link, f"{address}/24")
            router.up(link)
        router.route(f"{VIP}/32", POP_PUBLIC)
    with Wiring(CLIENT) as client:
        client.address("eth0", f"{CLIENT_ADDRESS}/24")
        client.up("eth0")
        client.route("0.0.0.0/0", ROUTERS["client"])
    netns.set_option(ROUTER, "net/ipv4/ip_forward", 1)


def remove() -> None:
    """Remove what there is of it. Idempotent."""
    for name in (SWITCH, ROUTER, CLIENT):
        netns.remove(name)
