"""Which links the WAN of a planet has, and how they are: a full mesh, but none from city to city."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from core.geo import Position, distance_km
from edge.lab.planet.spec import LinkSpec, PlanetSpec, WanSpec


@dataclass(frozen=True, slots=True)
class WanLinkPlan:
    """One link."""

    number: int
    ends: tuple[str, str]
    """Names of places, a city before a PoP before a region."""
    km: float
    delay_ms: float
    """One way."""
    jitter_ms: float
    loss: float

    @property
    def name(self) -> str:
        """`city-tokyo--pop-frankfurt`."""
        return "--".join(self.ends)

    def other(self, place: str) -> str:
        """The end that is not this one."""
        return self.ends[1] if place == self.ends[0] else self.ends[0]


def plan_links(spec: PlanetSpec) -> list[WanLinkPlan]:
    """Every link: of cities with PoPs for media and with regions for signaling, and those of the backbone."""
    differing = {frozenset(link.between): link for link in spec.links}
    return [
        _link(number, ends, differing.get(frozenset(names)), spec.wan)
        for number, (names, ends) in enumerate(_pairs(spec.positions()))
    ]


def _pairs(positions: dict[str, Position]) -> Iterator[tuple[tuple[str, str], dict[str, Position]]]:
    for one, other in combinations(positions, 2):
        if not (one.startswith("city-") and other.startswith("city-")):
            yield (one, other), {one: positions[one], other: positions[other]}


def _link(number: int, ends: dict[str, Position], differs: LinkSpec | None, wan: WanSpec) -> WanLinkPlan:
    one, other = ends
    km = distance_km(ends[one], ends[other])
    delay_ms = km / wan.km_per_ms * wan.detour + (wan.access_ms if one.startswith("city-") else 0.0)
    jitter_ms, loss = wan.jitter_ms, wan.loss
    if differs is not None:
        delay_ms = delay_ms if differs.delay_ms is None else differs.delay_ms
        jitter_ms = jitter_ms if differs.jitter_ms is None else differs.jitter_ms
        loss = loss if differs.loss is None else differs.loss
    return WanLinkPlan(number, (one, other), km, round(delay_ms, 3), jitter_ms, loss)
