"""Which two PoPs an answer names, and why these.

The first is where the client's media goes; the second is there for when it dies. A call costs every PoP that
its answer names a flow, as clients check all candidates, so two are named and not all
(docs/decisions/0321-two-pops.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.addr import Endpoint
from core.geo import Position, distance_km
from transceiver.steering.evidence import Evidence, Source
from transceiver.steering.fitness import Fitness

POPS_NAMED = 2
BUSY_KM = 1000.0
"""How much farther a PoP may be to be preferred to a busy one: 10 ms of round trip in glass."""


class Why(StrEnum):
    """Why the first PoP is the first; a metric label."""

    NEAREST = "nearest"
    ORDER = "order"
    """No distance is known: the first of the configuration."""
    LOAD = "load"
    """One that would have come before has not much room left."""
    HEALTH = "health"
    """One that would have come before takes no calls, or has only just come back."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A PoP that could be named."""

    id: str
    vips: tuple[Endpoint, ...]
    """Those that the client could be led here by."""
    position: Position | None
    is_usable: bool
    """Whether it takes calls, as far as is known."""
    fitness: Fitness = Fitness.FIT


@dataclass(frozen=True, slots=True)
class Named:
    """A PoP of an answer."""

    id: str
    vips: tuple[Endpoint, ...]
    km: float | None
    """From the client; None for unknown."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What an answer names, best first: one PoP or two."""

    source: Source
    why: Why
    pops: tuple[Named, ...]

    @property
    def vips(self) -> tuple[Endpoint, ...]:
        """All of them once: PoPs may share an anycast VIP."""
        return tuple(dict.fromkeys(vip for pop in self.pops for vip in pop.vips))

    @property
    def header(self) -> str:
        """A List of Strings with Parameters (RFC 9651), as in `"fra";source=database;why=nearest;km=312`."""
        about = [f";source={self.source};why={self.why}", *[""] * (len(self.pops) - 1)]
        return ", ".join(
            f'"{pop.id}"{more}' + ("" if pop.km is None else f";km={pop.km:.0f}")
            for pop, more in zip(self.pops, about, strict=True)
        )


def choose(candidates: Sequence[Candidate], evidence: Evidence) -> Choice | None:
    """The best two, `candidates` being in the order of the configuration; None where no PoP is usable."""
    kms = {each.id: _km(each, evidence) for each in candidates}
    nearest_first = sorted(candidates, key=lambda each: (kms[each.id], each.id != evidence.pop))
    usable = [each for each in nearest_first if each.is_usable]
    ranked = sorted(usable, key=lambda each: _score(each, kms[each.id]))[:POPS_NAMED]
    if not ranked:
        return None
    first, ideal = ranked[0], nearest_first[0]
    if first is not ideal:
        is_out = not ideal.is_usable or ideal.fitness is Fitness.RETURNED
        why = Why.HEALTH if is_out else Why.LOAD
    else:
        why = Why.ORDER if math.isinf(kms[first.id]) else Why.NEAREST
    named = tuple(Named(each.id, each.vips, _known(kms[each.id])) for each in ranked)
    return Choice(evidence.source, why, named)


def _km(candidate: Candidate, evidence: Evidence) -> float:
    """Infinite for unknown, so that a PoP without a place comes after all that have one."""
    if candidate.id == evidence.pop:
        return 0.0
    if candidate.position is None or evidence.position is None:
        return math.inf
    return distance_km(candidate.position, evidence.position)


def _score(candidate: Candidate, km: float) -> tuple[Fitness, float]:
    """The lower the better; Python's sort leaves equals in the order that they were in."""
    if candidate.fitness > Fitness.BUSY:
        return candidate.fitness, km
    return Fitness.FIT, km + (BUSY_KM if candidate.fitness is Fitness.BUSY else 0.0)


def _known(km: float) -> float | None:
    return None if math.isinf(km) else km
