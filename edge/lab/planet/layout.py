"""Every place of a planet: its names, its number, what stands where. Values only, from the spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from core.addr import Endpoint
from core.errors import UnavailableError
from core.schema import suggest
from edge.lab.plan import DIRECTORY
from edge.lab.planet import addresses
from edge.lab.planet.addresses import Pair
from edge.lab.planet.spec import CitySpec, PlanetSpec, PopSpec, RedisSpec, RegionSpec
from edge.lab.planet.wan_links import WanLinkPlan, plan_links

SPEC = "planet.toml"
"""What makes a lab's directory that of a planet: a copy of its file."""
BPFFS = "bpf"
"""In the directory of a place that has a fast path, where that is pinned."""

STORE_TIMEOUT_MS = 100
"""The default of `store.timeout_ms`."""


def namespace_of(lab: str, place: str) -> str:
    """The network namespace of a place, as `ip netns` names it."""
    return f"voxpop-{lab}-{place}"


@dataclass(frozen=True)
class Site:
    """A network namespace of a planet, and what is in it."""

    lab: str
    number: int
    """Of its kind, from 1."""

    @property
    def name(self) -> str:
        """As `voxpop lab exec` takes it."""
        raise NotImplementedError

    @property
    def namespace(self) -> str:
        """Of `ip netns`."""
        return namespace_of(self.lab, self.name)

    @property
    def directory(self) -> Path:
        """Its configuration, logs and sockets."""
        return DIRECTORY / self.lab / self.name


@dataclass(frozen=True)
class CitySite(Site):
    """A router, and the client behind it, in one namespace."""

    spec: CitySpec

    @property
    def name(self) -> str:
        """`city-tokyo`."""
        return f"city-{self.spec.name}"

    @property
    def client(self) -> Pair:
        """What is called from."""
        return addresses.client(self.number)


@dataclass(frozen=True)
class PopSite(Site):
    """A PoP's router."""

    spec: PopSpec
    shared: tuple[int, ...]
    """Numbers of the VIPs that it shares."""
    uses_fastpath: bool

    @property
    def name(self) -> str:
        """`pop-tokyo`."""
        return f"pop-{self.spec.name}"

    @property
    def vips(self) -> tuple[Pair, ...]:
        """Its own, then those that it shares."""
        return addresses.vip(self.number), *map(addresses.shared_vip, self.shared)

    @property
    def announced(self) -> tuple[Pair, ...]:
        """The prefixes of these."""
        return addresses.vips(self.number), *map(addresses.shared_vips, self.shared)

    @property
    def status(self) -> Endpoint:
        """Where regions ask how it is."""
        return Endpoint(addresses.pop_service(self.number), addresses.STATUS_PORT)

    @cached_property
    def hosts(self) -> tuple[HostSite, ...]:
        """Behind it."""
        numbers = range(1, self.spec.hosts + 1)
        return tuple(HostSite(self.lab, number, self) for number in numbers)


@dataclass(frozen=True)
class HostSite(Site):
    """A PoP host: fast path and relay."""

    pop: PopSite

    @property
    def name(self) -> str:
        """`pop-tokyo-1`."""
        return f"{self.pop.name}-{self.number}"

    @property
    def uplinks(self) -> tuple[Pair, ...]:
        """Its address on each."""
        uplinks = range(self.pop.spec.uplinks)
        return tuple(addresses.pop_host(self.pop.number, self.number, uplink) for uplink in uplinks)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The uplinks."""
        return tuple(f"eth{uplink}" for uplink in range(self.pop.spec.uplinks))

    @property
    def ports(self) -> tuple[str, ...]:
        """The routers' ends of these."""
        return tuple(f"host{self.number}-{uplink}" for uplink in range(self.pop.spec.uplinks))

    @property
    def backbones(self) -> list[Pair]:
        """What transceivers answer to."""
        return addresses.pop_backbones(self.pop.number, self.number, self.pop.spec.backbones)

    @property
    def bpffs(self) -> Path:
        """Where the fast path is pinned."""
        return self.directory / BPFFS


@dataclass(frozen=True)
class RegionSite(Site):
    """A region's router."""

    spec: RegionSpec

    @property
    def name(self) -> str:
        """`region-europe`."""
        return f"region-{self.spec.name}"

    @cached_property
    def hosts(self) -> tuple[TransceiverSite, ...]:
        """Behind it."""
        return tuple(TransceiverSite(self.lab, number, self) for number in range(1, self.spec.hosts + 1))


@dataclass(frozen=True)
class TransceiverSite(Site):
    """A transceiver host."""

    region: RegionSite

    @property
    def name(self) -> str:
        """`region-europe-1`."""
        return f"{self.region.name}-{self.number}"

    @property
    def address(self) -> Pair:
        """Its address in the cluster."""
        return addresses.region_host(self.region.number, self.number)

    @property
    def port(self) -> str:
        """The router's end of its link."""
        return f"host{self.number}"

    @property
    def signaling(self) -> Endpoint:
        """Where calls are taken."""
        return Endpoint(self.address.ipv4, addresses.SIGNALING_PORT)

    @property
    def url(self) -> str:
        """The same for clients, over the WAN."""
        return f"http://{self.signaling}"


@dataclass(frozen=True)
class RedisSite(Site):
    """A redis-server."""

    spec: RedisSpec
    behind: PopSite | RegionSite

    @property
    def name(self) -> str:
        """`redis-europe`."""
        return f"redis-{self.spec.name}"

    @property
    def address(self) -> Pair:
        """On the network of the router that it is behind."""
        of = addresses.pop_redis if isinstance(self.behind, PopSite) else addresses.region_redis
        return of(self.behind.number, self.number)

    @property
    def at(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(self.address.ipv4, addresses.REDIS_PORT)

    @property
    def url(self) -> str:
        """For `store.url`."""
        return f"redis://{self.at}/0"

    @property
    def port(self) -> str:
        """The router's end of its link."""
        return f"redis{self.number}"


@dataclass(frozen=True)
class WanSite(Site):
    """Where the process is that is the WAN; no place of the planet, but found as they are."""

    @property
    def name(self) -> str:
        """As a place's."""
        return "wan"


class Layout:
    """All places of the planet of a lab."""

    def __init__(self, name: str, spec: PlanetSpec) -> None:
        self.name = name
        self.spec = spec
        shared = spec.shared_vips
        self.cities = [CitySite(name, number, each) for number, each in enumerate(spec.cities, 1)]
        uses_fastpath = spec.planet.forwarder == "xdp"
        self.pops = [
            PopSite(name, number, each, tuple(1 + shared.index(vip) for vip in each.shared), uses_fastpath)
            for number, each in enumerate(spec.pops, 1)
        ]
        self.regions = [RegionSite(name, number, each) for number, each in enumerate(spec.regions, 1)]
        routers: list[PopSite | RegionSite] = [*self.pops, *self.regions]
        behind = {each.name: each for each in routers}
        self.redis = [
            RedisSite(name, number, each, behind[each.at]) for number, each in enumerate(spec.redis, 1)
        ]
        self.links = plan_links(spec)
        self.wan = WanSite(name, 1)

    @property
    def directory(self) -> Path:
        """All that the planet has in files."""
        return DIRECTORY / self.name

    @property
    def routers(self) -> list[CitySite | PopSite | RegionSite]:
        """The ends of WAN links."""
        return [*self.cities, *self.pops, *self.regions]

    @property
    def relay_hosts(self) -> list[HostSite]:
        """Of all PoPs."""
        return [host for pop in self.pops for host in pop.hosts]

    @property
    def transceiver_hosts(self) -> list[TransceiverSite]:
        """Of all regions."""
        return [host for region in self.regions for host in region.hosts]

    def sites(self) -> Iterator[Site]:
        """Every one, routers before what is behind them."""
        yield from self.cities
        for pop in self.pops:
            yield pop
            yield from pop.hosts
        for region in self.regions:
            yield region
            yield from region.hosts
        yield from self.redis

    def site(self, name: str) -> Site:
        """By its name. Raises UnavailableError."""
        sites = {site.name: site for site in self.sites()}
        if name not in sites:
            raise UnavailableError(f"lab {self.name} has no place {name}; {suggest(name, sites)}")
        return sites[name]

    def links_of(self, place: str) -> list[tuple[WanLinkPlan, int]]:
        """The WAN links of a router, and which end it is of each, 0 or 1."""
        return [(link, link.ends.index(place)) for link in self.links if place in link.ends]

    def faults(self) -> list[str]:
        """What is wrong with a planet because of its distances, a sentence each."""
        timeout_ms = self.spec.passed_on.get("store", {}).get("timeout_ms", STORE_TIMEOUT_MS)
        users = [(f"pop[{index}]", pop.name, pop.spec.redis) for index, pop in enumerate(self.pops)]
        users += [(f"region[{index}]", each.name, each.spec.redis) for index, each in enumerate(self.regions)]
        return [
            f"{table}.redis: {away_ms:.0f} ms to {redis.spec.name} and back, where a store is waited for "
            f"{timeout_ms} ms: name one that is nearer, or raise store.timeout_ms"
            for table, place, name in users
            if (redis := self.redis_named(name)) is not None
            and (away_ms := 2 * self._delay_ms(place, redis.spec.at)) >= float(str(timeout_ms))
        ]

    def _delay_ms(self, one: str, other: str) -> float:
        ends = {one, other}
        return next((link.delay_ms for link in self.links if set(link.ends) == ends), 0.0)

    def redis_named(self, name: str | None) -> RedisSite | None:
        """A Redis by the name that PoPs and regions have for it."""
        return next((each for each in self.redis if each.spec.name == name), None)


def interface_to(place: str) -> str:
    """What the WAN's interface to a place is called at the other end: `p-tokyo` leads to `pop-tokyo`."""
    kind, _, name = place.partition("-")
    return f"{kind[0]}-{name}"
