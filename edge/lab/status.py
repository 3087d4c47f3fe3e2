"""What there is of a lab, as the kernel says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from ebpf.errors import DataplaneError
from ebpf.net import netns
from ebpf.net.attach import Netdev
from ebpf.net.messages import Link
from edge.lab import processes
from edge.lab.plan import LabPlan, Place
from edge.lab.processes import Process


@dataclass(frozen=True, slots=True)
class InterfaceStatus:
    """One interface of a lab. `xdp` is its mode, None where no program is attached."""

    name: str
    mac: str
    mtu: int
    is_up: bool
    addresses: list[str]
    xdp: str | None


@dataclass(frozen=True, slots=True)
class PlaceStatus:
    """Client, PoP or region."""

    place: str
    namespace: str | None
    """None: this machine's own."""
    exists: bool
    interfaces: list[InterfaceStatus]
    processes: list[Process]


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A whole lab."""

    name: str
    url: str
    vips: list[str]
    config: str
    pin_dir: str
    places: list[PlaceStatus]

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def examine(plan: LabPlan) -> LabStatus:
    """Ask the kernel. Raises DataplaneError."""
    own = [name for name in plan.namespaces.values() if name is not None]
    running = processes.running_in(own)
    return LabStatus(
        name=plan.name,
        url=plan.url,
        vips=[str(vip) for vip in plan.vips],
        config=str(plan.config_path),
        pin_dir=str(plan.bpffs / "voxpop"),
        places=[
            _place(plan, place, name, running.get(name or "", [])) for place, name in plan.namespaces.items()
        ],
    )


def _place(plan: LabPlan, place: Place, name: str | None, running: list[Process]) -> PlaceStatus:
    ends = (plan.client,) if name is None else (plan.client, plan.public, plan.backbone, plan.region)
    ours = {end.interface for end in ends}
    return _look(place, name, running, lambda interface: interface in ours)


def in_namespace(place: str, namespace: str, running: list[Process]) -> PlaceStatus:
    """What is in a namespace, all interfaces but the loopback. Raises DataplaneError."""
    return _look(place, namespace, running, lambda interface: interface != "lo")


def _look(
    place: str, namespace: str | None, running: list[Process], is_ours: Callable[[str], bool]
) -> PlaceStatus:
    if namespace is not None and not netns.exists(namespace):
        return PlaceStatus(place, namespace, exists=False, interfaces=[], processes=[])
    with netns.inside(namespace), Netdev() as netdev:
        found = [_interface(netdev, link) for link in netdev.links() if is_ours(link.name)]
    interfaces = [each for each in found if each is not None]
    return PlaceStatus(place, namespace, exists=True, interfaces=interfaces, processes=running)


def _interface(netdev: Netdev, link: Link) -> InterfaceStatus | None:
    """None for one that has gone since it was listed."""
    try:
        attached = netdev.attached(link.name)
    except DataplaneError:
        if any(each.number == link.number for each in netdev.links()):
            raise
        return None
    return InterfaceStatus(
        name=link.name,
        mac=link.mac.hex(":"),
        mtu=link.mtu,
        is_up=link.is_up,
        addresses=netdev.addresses(link.number),
        xdp=attached.mode if attached else None,
    )


def render(status: LabStatus) -> str:
    """For people."""
    lines = [f"lab {status.name}: call {status.url} from the client, VIPs {', '.join(status.vips)}"]
    lines.append(f"  configuration {status.config}")
    for place in status.places:
        lines.append(f"  {place.place:<8}{_whereabouts(place)}")
        for interface in place.interfaces:
            xdp = f", XDP {interface.xdp}" if interface.xdp else ""
            state = "" if interface.is_up else ", down"
            lines.append(f"    {interface.name:<10}{' '.join(interface.addresses)}{xdp}{state}")
        lines += [f"    {process.pid:<10}{process.command[:90]}" for process in place.processes]
    return "\n".join(lines)


def _whereabouts(place: PlaceStatus) -> str:
    if place.namespace is None:
        return "this machine"
    return f"namespace {place.namespace}" + ("" if place.exists else ", which is gone")
