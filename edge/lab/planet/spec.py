"""What a planet is made of, as its TOML file says it. Values only: nothing here knows of addresses.

Each table is declared once, as the tables of voxpop.toml are, so faults are told in the same words, all at
once, each with its key and what to write instead.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.config.tables import (
    AnnounceSettings,
    DataplaneSettings,
    RelaySettings,
    StoreSettings,
    TransceiverSettings,
)
from core.errors import ConfigError
from core.geo import Position
from core.schema import (
    choice,
    integer,
    list_of,
    number,
    pattern,
    read_table,
    setting,
    suggest,
)

MAX_CITIES, MAX_POPS, MAX_REGIONS, MAX_REDIS, MAX_SHARED_VIPS = 64, 32, 16, 16, 16
MAX_HOSTS, MAX_TRANSCEIVER_HOSTS, MAX_BACKBONES = 8, 8, 8
MAX_LINKS = 1024


_WORD = r"[a-z][a-z0-9]{0,11}"
"""An interface, `p-NAME`, has at most 15 characters."""
_NAME = pattern("1–12 small letters and digits, a letter first", _WORD)
_PLACE = pattern(
    "the name of a place, such as pop-tokyo, region-europe or city-paris", rf"(city|pop|region)-{_WORD}"
)
_LATITUDE, _LONGITUDE = number(-90, 90, "°"), number(-180, 180, "°")


@dataclass(frozen=True, slots=True)
class WanSpec:
    """[wan]: what links are like that say nothing else."""

    km_per_ms: float = setting(number(1, 300, "km/ms"), "how fast light is in glass", default=200.0)
    detour: float = setting(number(1, 10), "how much longer cables are than great circles", default=1.4)
    access_ms: float = setting(number(0, 1000, "ms"), "added to links of a city, one way", default=2.0)
    jitter_ms: float = setting(number(0, 1000, "ms"), "packets take up to this much longer", default=0.0)
    loss: float = setting(number(0, 1), "share of packets that are lost", default=0.0)
    seed: int = setting(integer(0, 2**32 - 1), "which packets are lost, and how late others are", default=1)


@dataclass(frozen=True, slots=True)
class CitySpec:
    """[[city]]: where clients are."""

    name: str = setting(_NAME, "its name")
    latitude: float = setting(_LATITUDE, "where it is, north positive")
    longitude: float = setting(_LONGITUDE, "the same, east positive")


@dataclass(frozen=True, slots=True)
class PopSpec:
    """[[pop]]: a router, and hosts behind it."""

    name: str = setting(_NAME, "its name")
    latitude: float = setting(_LATITUDE, "where it is, north positive")
    longitude: float = setting(_LONGITUDE, "the same, east positive")
    hosts: int = setting(integer(1, MAX_HOSTS), "how many, all with the PoP's VIPs", default=1)
    uplinks: int = setting(integer(1, 2), "links of each host to the router", default=1)
    backbones: int = setting(
        integer(1, MAX_BACKBONES),
        "backbone addresses of each host and family, each worth 20,000 flows",
        default=1,
    )
    shared: tuple[str, ...] = setting(
        list_of(_NAME, 0, 4), "VIPs that it has in common with other PoPs, by name (anycast)", default=()
    )
    redis: str | None = setting(_NAME, "its hosts' store", default=None)


@dataclass(frozen=True, slots=True)
class RegionSpec:
    """[[region]]: a router, and transceiver hosts behind it."""

    name: str = setting(_NAME, "its name")
    latitude: float = setting(_LATITUDE, "where it is, north positive")
    longitude: float = setting(_LONGITUDE, "the same, east positive")
    hosts: int = setting(integer(1, MAX_TRANSCEIVER_HOSTS), "how many, each with its URL", default=1)
    processes: int = setting(integer(1, 16), "transceiver processes of each host", default=1)
    redis: str | None = setting(_NAME, "its hosts' store", default=None)


@dataclass(frozen=True, slots=True)
class RedisSpec:
    """[[redis]]: a redis-server behind the router of a PoP or a region."""

    name: str = setting(_NAME, "its name")
    at: str = setting(_PLACE, "behind whose router it is: pop-NAME or region-NAME")


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """[[link]]: a link of the WAN that differs from what distance makes of it."""

    between: tuple[str, ...] = setting(list_of(_PLACE, 2, 2), "its two ends: city-, pop- or region-NAME")
    delay_ms: float | None = setting(number(0, 60_000, "ms"), "one way", default=None)
    jitter_ms: float | None = setting(number(0, 1000, "ms"), "as in [wan]", default=None)
    loss: float | None = setting(number(0, 1), "as in [wan]", default=None)


@dataclass(frozen=True, slots=True)
class SettingsSpec:
    """[planet]: what is the same everywhere."""

    forwarder: str = setting(choice("xdp", "userspace"), "of the relays", default="xdp")
    workers: int = setting(integer(1, 16), "of each relay", default=1)


PASSED_ON: dict[str, Any] = {
    "relay": RelaySettings,
    "dataplane": DataplaneSettings,
    "announce": AnnounceSettings,
    "transceiver": TransceiverSettings,
    "store": StoreSettings,
}
"""Tables whose keys go into each voxpop.toml that has such a table, in place of what the lab writes there."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Sited(_Named, Protocol):
    @property
    def latitude(self) -> float: ...

    @property
    def longitude(self) -> float: ...


@dataclass(frozen=True, slots=True)
class PlanetSpec:
    """A whole file."""

    planet: SettingsSpec
    wan: WanSpec
    cities: tuple[CitySpec, ...]
    pops: tuple[PopSpec, ...]
    regions: tuple[RegionSpec, ...]
    redis: tuple[RedisSpec, ...] = ()
    links: tuple[LinkSpec, ...] = ()
    passed_on: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def shared_vips(self) -> tuple[str, ...]:
        """VIPs of more than one PoP, by name, in the order of the file."""
        return tuple(dict.fromkeys(name for pop in self.pops for name in pop.shared))

    def positions(self) -> dict[str, Position]:
        """Where each end of a WAN link is, by place: cities, then PoPs, then regions."""
        kinds: dict[str, Sequence[_Sited]] = {"city": self.cities, "pop": self.pops, "region": self.regions}
        return {
            f"{kind}-{each.name}": Position(each.latitude, each.longitude)
            for kind, tables in kinds.items()
            for each in tables
        }


def default_text() -> str:
    """The file of the planet that is built in."""
    return resources.files(__package__).joinpath("default.toml").read_text()


def default() -> PlanetSpec:
    """The planet that is built in."""
    return parse(default_text())


def read(path: Path) -> str:
    """The text of a file in which `parse` finds no fault. Raises ConfigError, which names the file."""
    try:
        text = path.read_text()
        parse(text)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is no text in UTF-8"]) from None
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from None
    return text


T = TypeVar("T")
_ARRAYS = {"city": MAX_CITIES, "pop": MAX_POPS, "region": MAX_REGIONS, "redis": MAX_REDIS, "link": MAX_LINKS}
_NEEDED = ("city", "pop", "region")


def parse(text: str) -> PlanetSpec:
    """The planet of a TOML text. Raises ConfigError with every fault."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"is no TOML: {error}"]) from None
    problems: list[str] = []
    known = ("planet", "wan", *_ARRAYS, *PASSED_ON)
    problems += [f"[{key}] is not a table; {suggest(key, known)}" for key in document if key not in known]
    planet = read_table(SettingsSpec, document.get("planet", {}), "planet", problems)
    wan = read_table(WanSpec, document.get("wan", {}), "wan", problems)
    cities = _read_array(CitySpec, document, "city", problems)
    pops = _read_array(PopSpec, document, "pop", problems)
    regions = _read_array(RegionSpec, document, "region", problems)
    redis = _read_array(RedisSpec, document, "redis", problems)
    links = _read_array(LinkSpec, document, "link", problems)
    passed_on = {
        name: _read_passed_on(document[name], name, problems) for name in PASSED_ON if name in document
    }
    if problems or planet is None or wan is None:
        raise ConfigError(problems)
    spec = PlanetSpec(planet, wan, cities, pops, regions, redis, links, passed_on)
    problems += _faults_of_all(spec)
    if problems:
        raise ConfigError(problems)
    return spec


def _read_array(
    declared: type[T], document: Mapping[str, object], key: str, problems: list[str]
) -> tuple[T, ...]:
    tables = document.get(key, [])
    if not isinstance(tables, list):
        problems.append(f"{key} must be written as [[{key}]]")
        return ()
    if not tables and key in _NEEDED:
        problems.append(f"there is no [[{key}]]: a planet has at least one")
    if len(tables) > _ARRAYS[key]:
        problems.append(f"{key}: there are {len(tables)}, and at most {_ARRAYS[key]} are supported")
        return ()
    read = [read_table(declared, table, f"{key}[{index}]", problems) for index, table in enumerate(tables)]
    return tuple(each for each in read if each is not None)


def _read_passed_on(table: object, name: str, problems: list[str]) -> Mapping[str, object]:
    """Whether its values are right is told when they are in a voxpop.toml."""
    if not isinstance(table, Mapping):
        problems.append(f"{name} must be a table")
        return {}
    known = [each.name for each in fields(PASSED_ON[name])]
    problems += [f"{name}.{key} is not a setting; {suggest(key, known)}" for key in table if key not in known]
    return table


def _faults_of_all(spec: PlanetSpec) -> Iterable[str]:
    """What takes more than one table to see."""
    yield from _faults_of_names(spec)
    redis = [each.name for each in spec.redis]
    users = [*(("pop", index, pop.redis) for index, pop in enumerate(spec.pops))]
    users += [("region", index, region.redis) for index, region in enumerate(spec.regions)]
    for kind, index, name in users:
        if name is not None and name not in redis:
            yield f"{kind}[{index}].redis: there is no [[redis]] {name}; {suggest(name, redis or ['none'])}"
    places = spec.positions()
    hosting = [place for place in places if not place.startswith("city-")]
    for index, each in enumerate(spec.redis):
        if each.at not in hosting:
            yield f"redis[{index}].at: there is no {each.at}; {suggest(each.at, hosting)}"
    yield from _faults_of_links(spec, places)
    if len(spec.shared_vips) > MAX_SHARED_VIPS:
        yield f"pop.shared: {len(spec.shared_vips)} names, and at most {MAX_SHARED_VIPS} are supported"


def _faults_of_names(spec: PlanetSpec) -> Iterable[str]:
    tables: dict[str, Sequence[_Named]] = {
        "city": spec.cities,
        "pop": spec.pops,
        "region": spec.regions,
        "redis": spec.redis,
    }
    for kind, entries in tables.items():
        names = [each.name for each in entries]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield f"{kind}[{index}].name {name} is used twice"


def _faults_of_links(spec: PlanetSpec, places: Mapping[str, Position]) -> Iterable[str]:
    seen: set[frozenset[str]] = set()
    for index, link in enumerate(spec.links):
        path = f"link[{index}].between"
        unknown = [end for end in link.between if end not in places]
        yield from (f"{path}: there is no {end}; {suggest(end, places)}" for end in unknown)
        if all(end.startswith("city-") for end in link.between):
            yield f"{path}: no link leads from city to city: one end is a PoP or a region"
        if frozenset(link.between) in seen:
            yield f"{path}: that link is in an entry before"
        seen.add(frozenset(link.between))
