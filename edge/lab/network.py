"""The namespaces, pairs, addresses and routes of a lab."""

from __future__ import annotations

from core.addr import IpFamily, family_of
from core.service import interrupt
from ebpf.net import netns
from ebpf.net.netns import Wiring
from edge.lab.plan import LabPlan, Link, Place


def build(plan: LabPlan) -> None:
    """Make all of it. Raises DataplaneError, or KeyboardInterrupt when a postponed signal comes; what was
    made by then is for `remove` to remove.
    """
    names = plan.namespaces
    for name in names.values():
        if name is not None:
            interrupt.check()
            netns.create(name)
    with Wiring(names[Place.POP]) as pop:
        pop.veth(plan.public.interface, plan.client.interface, names[Place.CLIENT])
        pop.veth(plan.backbone.interface, plan.region.interface, names[Place.REGION])
        for link in (plan.public, plan.backbone):
            _configure(pop, link)
    with Wiring(names[Place.CLIENT]) as client:
        _configure(client, plan.client)
        for vip, gateway, host in zip(plan.vips, plan.gateways, plan.client_hosts, strict=True):
            client.route(f"{vip.host}/{8 * vip.family.address_bytes}", gateway, source=host)
    with Wiring(names[Place.REGION]) as region:
        _configure(region, plan.region)
    with Wiring(names[Place.POP]) as pop:
        for router in plan.routers:
            pop.route("::/0" if family_of(router) is IpFamily.V6 else "0.0.0.0/0", router)


def _configure(wiring: Wiring, link: Link) -> None:
    interrupt.check()
    wiring.up(link.interface)
    wiring.prepare_for_xdp(link.interface)
    for address in link.addresses:
        wiring.address(link.interface, address)


def remove(plan: LabPlan) -> None:
    """Remove what there is of it; no process may be left inside. Idempotent."""
    with Wiring(None) as own:
        interface = f"vp-{plan.name}"
        if own.exists(interface):
            own.delete(interface)
    for place in Place:
        netns.remove(f"voxpop-{plan.name}-{place}")


def is_there(plan: LabPlan) -> bool:
    """Whether any namespace of the lab exists."""
    return any(name is not None and netns.exists(name) for name in plan.namespaces.values())
