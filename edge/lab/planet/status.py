"""What there is of a planet, as its kernel and its BIRDs say it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from edge.lab import processes
from edge.lab.bird.control import BirdControl
from edge.lab.bird.replies import BirdError
from edge.lab.planet import network, routing
from edge.lab.planet.layout import SPEC, CitySite, HostSite, Layout, PopSite, RedisSite, Site, TransceiverSite
from edge.lab.status import PlaceStatus, in_namespace


@dataclass(frozen=True, slots=True)
class BgpStatus:
    """Sessions of a place."""

    sessions: int
    established: int


@dataclass(frozen=True, slots=True)
class PlanetPlaceStatus:
    """One place. `about` is what it is known by: addresses, VIPs, a URL."""

    about: list[str]
    bgp: BgpStatus | None
    """None where no BIRD answers."""
    status: PlaceStatus


@dataclass(frozen=True, slots=True)
class PlanetStatus:
    """A whole planet."""

    name: str
    file: str
    """The copy of the planet's file."""
    urls: dict[str, str]
    """Where cities call, by transceiver host: `europe/1`."""
    places: list[PlanetPlaceStatus]

    def as_json(self) -> dict[str, object]:
        """Plain values; each place as those of other labs, and `about` and `bgp` beside that."""
        places = [
            {
                **asdict(each.status),
                "about": each.about,
                "bgp": None if each.bgp is None else asdict(each.bgp),
            }
            for each in self.places
        ]
        return {"name": self.name, "file": self.file, "urls": self.urls, "places": places}


def examine(layout: Layout) -> PlanetStatus:
    """Ask the kernel and every BIRD. Raises DataplaneError."""
    running = processes.running_in(network.namespaces(layout))
    places = [
        PlanetPlaceStatus(
            _about(site), _bgp(site), in_namespace(site.name, site.namespace, running[site.namespace])
        )
        for site in layout.sites()
    ]
    wan = layout.wan
    carrier = in_namespace(wan.name, wan.namespace, running[wan.namespace])
    places.append(PlanetPlaceStatus([f"{len(layout.links)} links"], None, carrier))
    urls = {f"{host.region.spec.name}/{host.number}": host.url for host in layout.transceiver_hosts}
    return PlanetStatus(layout.name, str(layout.directory / SPEC), urls, places)


def _about(site: Site) -> list[str]:
    if isinstance(site, CitySite):
        return [f"client {address}" for address in site.client.both]
    if isinstance(site, PopSite):
        return [f"VIP {address}" for vip in site.vips for address in vip.both]
    if isinstance(site, HostSite):
        return [address for uplink in site.uplinks for address in uplink.both]
    if isinstance(site, TransceiverSite):
        return [site.url, *site.address.both]
    return [site.url] if isinstance(site, RedisSite) else []


def _bgp(site: Site) -> BgpStatus | None:
    try:
        protocols = BirdControl(site.directory / routing.SOCKET).protocols().values()
    except BirdError:
        return None
    sessions = [protocol for protocol in protocols if protocol.kind == "BGP"]
    return BgpStatus(len(sessions), sum(each.info == "Established" for each in sessions))


def render(status: PlanetStatus) -> str:
    """For people, a line for each place and one for what runs there."""
    calls = ", ".join(f"{host} {url}" for host, url in status.urls.items())
    lines = [f"lab {status.name}, a planet: call {calls} from a city"]
    for place in status.places:
        lines.append(f"  {place.status.place:<20}{', '.join(place.about)}{_state(place)}".rstrip())
        lines += [f"    {each.pid:<10}{each.command[:90]}" for each in place.status.processes]
    return "\n".join(lines)


def _state(place: PlanetPlaceStatus) -> str:
    if not place.status.exists:
        return f"  namespace {place.status.namespace} is gone"
    words = [f"XDP {each.xdp} on {each.name}" for each in place.status.interfaces if each.xdp]
    words += [
        f"{each.name} down" for each in place.status.interfaces if each.name == "eth0" and not each.is_up
    ]
    if place.bgp is not None:
        words.append(f"BGP {place.bgp.established}/{place.bgp.sessions}")
    return f"  {', '.join(words)}" if words else ""
