"""A planet that is up, as a drill or a test takes hold of it.

    with lifecycle.running(spec.default_text(), "drill") as planet:
        tokyo = planet.city("tokyo")
        tokyo.run(["voxpop", "call", tokyo.url("europe")])
        planet.host("frankfurt/1").kill()

Everything here waits in the thread that calls it, and raises UnavailableError with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from core.errors import UnavailableError
from core.schema import suggest
from core.service import keysfile
from core.service.process import Child
from edge.lab.planet import addresses, config, routing
from edge.lab.planet.hosts import Redis, RelayHost, TransceiverHost
from edge.lab.planet.layout import CitySite, Layout, PopSite, RegionSite, interface_to
from edge.lab.planet.links import Wan
from edge.lab.planet.place import Place
from edge.lab.planet.speaker import Speaker

API_KEY_VARIABLE = "VOXPOP_API_KEY"
"""Where `voxpop call` looks for one."""
WAN_SOCKET = "wan.sock"


class Router(Place):
    """An end of WAN links."""

    def __init__(self, site: CitySite | PopSite | RegionSite, layout: Layout, wan: Wan) -> None:
        super().__init__(site)
        self._wan = wan
        self.speaker = Speaker(layout, self)

    def cut_off(self) -> None:
        """Cut all WAN links of the place at once: it vanishes without goodbye."""
        for link in self._wan.links(self.name):
            link.cut()

    def rejoin(self) -> None:
        """Restore them."""
        for link in self._wan.links(self.name):
            link.restore()


class City(Router):
    """Where clients are: a router and a client in one namespace, with prefixes of their own."""

    def __init__(self, site: CitySite, layout: Layout, wan: Wan, api_key: str) -> None:
        super().__init__(site, layout, wan)
        self.addresses = site.client.both
        """What clients call from, in IPv4 and IPv6; the steering's database has them in this city."""
        self.api_key = api_key
        self._regions = {region.spec.name: region for region in layout.regions}

    @property
    def environment(self) -> Mapping[str, str]:
        """The API key, as `voxpop call` takes it."""
        return {API_KEY_VARIABLE: self.api_key}

    def url(self, region: str, host: int = 1) -> str:
        """Where to call from here, over the WAN: signaling and page of one host of a region."""
        hosts = {str(each.number): each for each in _of(self._regions, region, "region").hosts}
        return _of(hosts, str(host), f"host of {region}").url

    def way_to(self, vip: str) -> str | None:
        """The PoP that packets for a VIP leave for now, `tokyo`, as the kernel routes them; None for none."""
        hops = routing.next_hops(self.site, vip)
        return hops[0].interface.removeprefix(interface_to("pop-")) if hops else None


class Pop(Router):
    """A PoP: this place is its router; the hosts are behind it."""

    def __init__(self, site: PopSite, layout: Layout, wan: Wan) -> None:
        super().__init__(site, layout, wan)
        self._site = site
        self.hosts = tuple(RelayHost(host, layout) for host in site.hosts)
        self.vips = tuple(endpoint for vip in site.vips for endpoint in vip.endpoints(addresses.VIP_PORT))
        """Its own, in IPv4 and IPv6, then those that it shares with other PoPs (anycast)."""

    def withdraw(self) -> None:
        """Announce no VIP of this PoP to the WAN any more: routes to those that it shares shift to the next
        PoP, while this one goes on.
        """
        self.speaker.withhold(tuple(text for pair in self._site.announced for text in pair.with_lengths))

    def announce(self) -> None:
        """The opposite."""
        self.speaker.withhold(())

    def next_hops(self, vip: str) -> list[str]:
        """The hosts that the router's kernel spreads packets for a VIP over now, by address; [] for none."""
        return sorted(hop.gateway for hop in routing.next_hops(self._site, vip) if hop.gateway)


class Region(Router):
    """A region: this place is its router; the hosts are behind it."""

    def __init__(self, site: RegionSite, layout: Layout, wan: Wan) -> None:
        super().__init__(site, layout, wan)
        self.spec = site.spec
        self.hosts = tuple(map(TransceiverHost, site.hosts))


P = TypeVar("P")


class Planet:
    """Everything, by name."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.name = layout.name
        self.spec = layout.spec
        self.directory: Path = layout.directory
        self.api_key = (self.directory / config.API_KEY).read_text().strip()
        self.wan = Wan(layout.links, layout.wan.directory / WAN_SOCKET)
        self.cities = {site.spec.name: City(site, layout, self.wan, self.api_key) for site in layout.cities}
        self.pops = {site.spec.name: Pop(site, layout, self.wan) for site in layout.pops}
        self.regions = {site.spec.name: Region(site, layout, self.wan) for site in layout.regions}
        self.wan_process: Child | None = None
        """Where we have started it."""
        self.stores = {site.spec.name: Redis(site) for site in layout.redis}

    def city(self, name: str) -> City:
        """`tokyo`."""
        return _of(self.cities, name, "city")

    def pop(self, name: str) -> Pop:
        """`frankfurt`."""
        return _of(self.pops, name, "PoP")

    def host(self, name: str) -> RelayHost:
        """`frankfurt/1`."""
        pop, _, number = name.partition("/")
        return _of({str(host.number): host for host in self.pop(pop).hosts}, number, f"host of {pop}")

    def region(self, name: str) -> Region:
        """`europe`."""
        return _of(self.regions, name, "region")

    def transceiver(self, name: str) -> TransceiverHost:
        """`europe/1`."""
        region, _, number = name.partition("/")
        return _of(
            {str(host.number): host for host in self.region(region).hosts}, number, f"host of {region}"
        )

    def redis(self, name: str) -> Redis:
        """`europe`."""
        return _of(self.stores, name, "Redis")

    @property
    def hosts(self) -> list[RelayHost]:
        """Of all PoPs."""
        return [host for pop in self.pops.values() for host in pop.hosts]

    @property
    def transceivers(self) -> list[TransceiverHost]:
        """Of all regions."""
        return [host for region in self.regions.values() for host in region.hosts]

    @property
    def routers(self) -> list[Router]:
        """The ends of WAN links."""
        return [*self.cities.values(), *self.pops.values(), *self.regions.values()]

    def places(self) -> dict[str, Place]:
        """Every namespace but the WAN's, by the name that `voxpop lab exec` takes."""
        behind: list[Place] = [*self.hosts, *self.transceivers, *self.stores.values()]
        found = {place.name: place for place in (*self.routers, *behind)}
        return {site.name: found[site.name] for site in self.layout.sites()}

    def children(self) -> list[Child]:
        """Every process that we have started, and that is to stay."""
        own = [] if self.wan_process is None else [self.wan_process]
        return [*own, *(child for place in self.places().values() for child in place.children())]

    def reap(self) -> None:
        """Take the status of all that we started, and that has ended."""
        if self.wan_process is not None:
            self.wan_process.popen.poll()
        for place in self.places().values():
            place.reap()

    def rotate_keys(self) -> int:
        """Add a master key to the file that all daemons share; its id. Reload relays, which then know it,
        before transceivers, which then mint with it.
        """
        return keysfile.rotate(self.directory / config.KEYS)


def _of(found: Mapping[str, P], name: str, what: str) -> P:
    if name not in found:
        raise UnavailableError(f"there is no {what} {name}; {suggest(name, found)}")
    return found[name]
