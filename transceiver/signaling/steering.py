"""Steering as the handlers use it: where a request's client is, and which PoPs its answer names.

What is decided by values is in `transceiver.steering`; here are the request, the counters and the log.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from core.addr import Endpoint
from core.config import PopSettings
from core.geo import Position
from core.service.metrics import OTHER, Bound, Series, counter
from transceiver.observer import Observer
from transceiver.signaling.pops import NOT_ASKED, PopDirectory, PopReport, Standing
from transceiver.steering.choice import Candidate, Choice, Why, choose
from transceiver.steering.evidence import (
    TRUSTING_NOBODY,
    Database,
    Evidence,
    HeaderLines,
    Locator,
    Source,
    Trust,
)
from transceiver.steering.fitness import FitnessTable
from transceiver.steering.headers import EvidenceFault

logger = logging.getLogger(__name__)

STEERED = counter(
    "voxpop_transceiver_steering_total",
    "Answers, of calls and ICE restarts, by what told where the client is, and by why the first PoP is: the "
    "nearest; in the order of the configuration, where no distance is known; or one that would have come "
    "before it has no room (load), or is out or only just back (health).",
    source=Source,
    why=Why,
)
FAULTS = counter(
    "voxpop_transceiver_steering_faults_total",
    "What could have told where a client is and was not used, by reason.",
    reason=(*EvidenceFault, OTHER),
)
EVENTS: tuple[Series, ...] = (STEERED, FAULTS)

POP = Bound("each `[[pop]]`")
PLACES = ("first", "second")
NAMED = counter(
    "voxpop_transceiver_answers_total",
    "Answers that named the PoP, by its place in them.",
    pop=POP,
    place=PLACES,
)
SAY_FAULT_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class SteeringPlan:
    """What the configuration says of it."""

    pops: Sequence[tuple[PopSettings, tuple[Endpoint, ...]]] = ()
    """In their order, each with those of its VIPs that lead here; there may be none."""
    trust: Trust = TRUSTING_NOBODY
    database: Database | None = None


class Steering:
    """Of one process."""

    def __init__(self, observer: Observer, plan: SteeringPlan) -> None:
        self._observer = observer
        self._fitness = FitnessTable()
        self.directory = PopDirectory([pop for pop, _ in plan.pops])
        self._named: Counter[tuple[str, str]] = Counter()
        self._quiet_until_ns = -math.inf
        self.adopt(plan)

    def adopt(self, plan: SteeringPlan) -> None:
        """Take a reloaded configuration."""
        self._plan = plan
        places = {pop.id: _place(pop) for pop, _ in plan.pops}
        self._locator = Locator(plan.trust, places, plan.database)
        self._fitness.keep(places)
        self._named = Counter({row: count for row, count in self._named.items() if row[0] in places})
        self.directory.replace([pop for pop, _ in plan.pops])

    def learn(self, reports: Mapping[str, PopReport], now_ns: int) -> None:
        """Take the latest reports, by PoP."""
        self.directory.learn(reports)
        for pop, report in reports.items():
            if report == NOT_ASKED:
                self._fitness.lose(pop)
                continue
            is_up = report.standing is Standing.UP
            self._fitness.report(pop, is_up=is_up, load=report.load, now_ns=now_ns)

    def locate(self, request: web.Request, now_ns: int) -> Evidence:
        """Where the client of a request is, as far as is known."""
        evidence, faults = self._locator.locate(request.remote, _lines(request))
        for fault in faults:
            self._observer.count(FAULTS, fault)
        if faults and now_ns >= self._quiet_until_ns:
            self._quiet_until_ns = now_ns + SAY_FAULT_NS
            logger.warning(
                "what was to tell where a client is was not used: %s, in a request from %s",
                " and ".join(faults),
                request.remote,
            )
        return evidence

    def client_of(self, request: web.Request) -> str | None:
        """See `Locator`."""
        return self._locator.client_of(request.remote, _lines(request))

    @property
    def is_possible(self) -> bool:
        """Whether there is a PoP to name."""
        return bool(self._usable)

    def choose(self, evidence: Evidence, now_ns: int) -> Choice | None:
        """The PoPs for an answer; None where no PoP takes calls."""
        usable = self._usable
        candidates = [
            Candidate(pop.id, vips, _place(pop), pop.id in usable, self._fitness.of(pop.id, now_ns))
            for pop, vips in self._plan.pops
            if vips
        ]
        return choose(candidates, evidence)

    def note(self, choice: Choice, session_id: str) -> None:
        """Count and tell a choice that an answer was made of."""
        self._observer.count(STEERED, choice.source, choice.why)
        self._named.update((pop.id, place) for pop, place in zip(choice.pops, PLACES, strict=False))
        logger.info("session %s is led to %s", session_id, _words(choice))

    def answers(self) -> Mapping[tuple[str, ...], int]:
        """How many answers named each PoP, by its place in them."""
        return {(pop.id, place): self._named[pop.id, place] for pop, _ in self._plan.pops for place in PLACES}

    @property
    def _usable(self) -> frozenset[str]:
        return frozenset(
            pop.id for pop in self.directory.usable(pop for pop, vips in self._plan.pops if vips)
        )


def _lines(request: web.Request) -> HeaderLines:
    return lambda name: request.headers.getall(name, ())


def _place(pop: PopSettings) -> Position | None:
    return None if pop.place is None else Position(*pop.place)


def _words(choice: Choice) -> str:
    """`PoP nrt (database, nearest, 12 km), else fra (9302 km)`, for the log."""
    first, *others = choice.pops
    about = [choice.source, choice.why, *([] if first.km is None else [f"{first.km:.0f} km"])]
    rest = [other.id if other.km is None else f"{other.id} ({other.km:.0f} km)" for other in others]
    return f"PoP {first.id} ({', '.join(about)})" + "".join(f", else {words}" for words in rest)
