"""What a crowd of calls tells while it lasts, and what all of them came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from transceiver.caller.budget import spread_stages, stage_rows
from transceiver.caller.report import Report
from transceiver.caller.spread import Spread


class EventKind(StrEnum):
    """What happened; `event` of a line of JSON."""

    CONNECTED = "connected"
    """A call is up: its first audio came."""
    FAILED = "failed"
    """A call could not be set up."""
    ALL_CONNECTED = "all_connected"
    """Every call was tried, and is up or has failed."""
    LOST = "lost"
    """A call that was up broke off."""
    REBOUND = "rebound"
    """All calls go on from other ports."""
    REPORT = "report"
    """A call is over; its report, at the moment before it was hung up."""
    SUMMARY = "summary"
    """All are over. The last line."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    kind: EventKind
    at_ns: int
    """CLOCK_MONOTONIC."""
    call: int | None = None
    """Its number, from 0, in the order in which they began."""
    details: dict[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        number = {} if self.call is None else {"call": self.call}
        return {"event": str(self.kind), "at_ns": self.at_ns, **number, **self.details}


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a crowd."""

    calls: int
    """How many began."""
    connected: int
    lost: int
    """Of those, how many broke off."""
    answered: int
    """Connected, not lost, and no turn without an answer."""
    was_interrupted: bool
    setup_ms: Spread | None
    longest_gap_ms: float
    packets_received: int
    packets_lost: int
    packets_sent: int
    remote_lost: int
    moves: int
    restarts: int
    response_ms: Spread | None
    stages_ms: dict[str, Spread] = field(default_factory=dict)
    """Of the turns' budgets, by part."""

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def summarise(reports: Sequence[Report], lost: int, was_interrupted: bool) -> Summary:
    """`reports`: of all calls that began; `lost`: how many of them broke off."""
    totals = [report.setup.total_ms for report in reports]
    connected = [total for total in totals if total is not None]
    heard = [report.quality for report in reports if report.quality is not None]
    responses = [turn.response_ms for report in reports for turn in report.turns]
    return Summary(
        calls=len(reports),
        connected=len(connected),
        lost=lost,
        answered=sum(report.answered for report in reports),
        was_interrupted=was_interrupted,
        setup_ms=Spread.of(connected),
        longest_gap_ms=max((quality.longest_gap_ms for quality in heard), default=0.0),
        packets_received=sum(quality.packets_received for quality in heard),
        packets_lost=sum(quality.packets_lost for quality in heard),
        packets_sent=sum(quality.packets_sent for quality in heard),
        remote_lost=sum(quality.remote_lost for quality in heard),
        moves=sum(report.moves for report in reports),
        restarts=sum(report.restarts for report in reports),
        response_ms=Spread.of([each for each in responses if each is not None]),
        stages_ms=spread_stages([turn.budget for report in reports for turn in report.turns]),
    )


def render_event(event: Event) -> str:
    """A line for people; empty for what would only fill the screen."""
    details = event.details
    match event.kind:
        case EventKind.ALL_CONNECTED:
            return f"  {details['connected']} of {details['calls']} calls are up"
        case EventKind.FAILED:
            return f"  call {event.call} was not set up: {details['error']}"
        case EventKind.LOST:
            return f"  call {event.call} is lost: {details['error']}"
        case EventKind.REBOUND:
            return "  all calls go on from other ports"
        case _:
            return ""


def render_summary(summary: Summary) -> str:
    """As a text table."""
    rows = [
        ("calls", f"{summary.calls}: {summary.connected} set up, {summary.lost} of them lost"),
        ("answered", f"{summary.answered}"),
        ("set-up", _spread(summary.setup_ms)),
        ("response", _spread(summary.response_ms)),
        ("longest gap", f"{summary.longest_gap_ms:.0f} ms"),
        ("received", f"{summary.packets_received} packets, {summary.packets_lost} lost"),
        ("sent", f"{summary.packets_sent} packets, {summary.remote_lost} lost on the way"),
        ("moved", f"{summary.moves} times to another candidate, ICE restarted {summary.restarts} times"),
    ]
    rows += stage_rows(summary.stages_ms)
    return "\n".join(f"  {label:<13}{text}" for label, text in rows)


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "—"
    return f"p50 {spread.p50:.1f} ms, p95 {spread.p95:.1f} ms, longest {spread.longest:.1f} ms"
