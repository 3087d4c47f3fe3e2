"""The series of a checker, and their values."""

from __future__ import annotations

from collections.abc import Mapping

from core.service.metrics import Series, counter, exposition, gauge
from core.service.metrics.exposition import by_label
from core.service.metrics.reference import Section
from edge.health.answers import Outcome
from edge.health.standing import State

STATE = gauge(
    "voxpop_announce_state",
    "1 for the state of this host's VIPs, 0 for the others. Routes lead here only while they are announced.",
    state=State,
)
CHECKS = counter(
    "voxpop_announce_checks_total",
    "Times that the relay was asked whether it is ready, by what came of it.",
    outcome=Outcome,
)
CHANGES = counter("voxpop_announce_changes_total", "Times that the state became this one.", state=State)
ANNOUNCE: tuple[Series, ...] = (STATE, CHECKS, CHANGES)
SECTION = Section(
    "Announcing",
    "Shown by `voxpop announce` at `announce.metrics`.",
    ANNOUNCE,
)


def render(state: State, checks: Mapping[Outcome, int], changes: Mapping[State, int]) -> bytes:
    """The text of a scrape."""
    return exposition.render(
        [
            by_label(STATE, {known: int(known is state) for known in State}),
            by_label(CHECKS, {outcome: checks[outcome] for outcome in Outcome}),
            by_label(CHANGES, {known: changes[known] for known in State}),
        ]
    )
