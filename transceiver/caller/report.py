"""The numbers of one call, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from transceiver.caller.budget import (
    TurnBudget,
    budget_lines,
    find_budget_untrusted,
    spread_stages,
    stage_rows,
)
from transceiver.caller.call import Call, HeardEvent
from transceiver.caller.conversation import Turn
from transceiver.caller.spread import Spread
from transceiver.caller.steering import SteeringReport, describe
from transceiver.media import FRAME_MS, FRAME_NS
from transceiver.media.path import PathStats
from transceiver.turns.budget import BAR_MS

RESPONSE_BAR_MS = BAR_MS
"""From the end of speech to the first sound of the answer: what still feels like talking."""
LATE_NS = 250_000_000
"""A packet that is later than that will not come: far above what jitter and a busy machine do to a packet."""
MAX_EVENTS_SHOWN = 12
EVENTS_SHOWN = ("error", "session.", "input_audio_buffer.speech_", "output_audio_buffer.")


@dataclass(frozen=True, slots=True)
class Setup:
    """How long each stage took, in ms; None for stages that were not reached."""

    signaling_ms: float | None
    """POST → answer read."""
    ice_ms: float | None
    """Answer → first answered check."""
    dtls_ms: float | None
    """First answered check → SRTP keys."""
    audio_ms: float | None
    """Keys → first authentic audio packet."""
    total_ms: float | None


@dataclass(frozen=True, slots=True)
class GapReport:
    """A time of 60 ms or more without audio."""

    at_ns: int
    """When the last packet before it came, on CLOCK_MONOTONIC."""
    ms: float
    lost: int
    """Packets missing in it, by sequence numbers; 0 where `is_open`."""
    is_open: bool
    """It lasted to the end of the call."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The media path as this side sees it, and `remote_*` as the other side reports it."""

    ice_rtt_ms: float | None
    rtcp_rtt_ms: float | None
    jitter_ms: float
    buffer_ms: float
    packets_sent: int
    packets_received: int
    packets_lost: int
    loss_percent: float
    concealed_ms: int
    """Audio made up where packets were missing or late."""
    longest_gap_ms: float
    remote_lost: int
    remote_jitter_ms: float
    gaps: list[GapReport] = field(default_factory=list)
    """The longest, in order of time."""


@dataclass(frozen=True, slots=True)
class TurnReport:
    """One exchange. `response_ms` None: no answer was heard."""

    response_ms: float | None
    answer_ms: int
    budget: TurnBudget | None = None
    """What `response_ms` consists of; None where the server does not say."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `voxpop call` says."""

    answered: bool
    error: str | None
    session: str | None
    pop: str | None
    forwarder: str | None
    vip: str | None
    local_address: str | None
    setup: Setup
    quality: Quality | None
    turns: list[TurnReport]
    response_bar_ms: int
    moves: int
    events: list[dict[str, object]]
    restarts: int = 0
    steering: SteeringReport | None = None
    referred_to: str | None = None
    stages_ms: dict[str, Spread] = field(default_factory=dict)
    """Of all turns, by part of their budgets."""

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def make_report(call: Call, error: str | None) -> Report:
    """The numbers of a call in whatever state it is; ask before it is hung up for its addresses."""
    record, transport = call.record, call.transport
    vip = None if transport is None else transport.ice.selected
    local = None if transport is None else transport.local_address
    said = [] if call.conversation is None else call.conversation.turns
    turns = [_turn(turn, record.events) for turn in said]
    return Report(
        answered=error is None and call.conversation is not None and call.conversation.is_answered,
        error=error,
        session=record.session_id,
        pop=None if record.pop is None else record.pop.id,
        forwarder=None if record.pop is None else record.pop.forwarder,
        vip=None if vip is None else str(vip),
        local_address=None if local is None else str(local),
        setup=_setup(call),
        quality=_quality(call),
        turns=turns,
        response_bar_ms=RESPONSE_BAR_MS,
        moves=0 if transport is None else transport.moves,
        restarts=0 if transport is None else transport.restarts,
        steering=record.steering,
        referred_to=None if record.referred_to is None else str(record.referred_to),
        stages_ms=spread_stages([turn.budget for turn in turns]),
        events=[
            {"at_ms": _span_ms(record.offered_ns, heard.at_ns), "type": heard.type} for heard in record.events
        ],
    )


def _span_ms(start_ns: int | None, end_ns: int | None) -> float | None:
    return None if start_ns is None or end_ns is None else round((end_ns - start_ns) / 1e6, 2)


def set_up_ms(call: Call) -> float | None:
    """From the POST to the first authentic audio."""
    return _setup(call).total_ms


def _setup(call: Call) -> Setup:
    record, transport = call.record, call.transport
    if transport is None:
        return Setup(_span_ms(record.offered_ns, record.answered_ns), None, None, None, None)
    marks = transport.marks
    return Setup(
        signaling_ms=_span_ms(record.offered_ns, record.answered_ns),
        ice_ms=_span_ms(record.answered_ns, marks.ice_ns),
        dtls_ms=_span_ms(marks.ice_ns, marks.dtls_ns),
        audio_ms=_span_ms(marks.dtls_ns, marks.audio_ns),
        total_ms=_span_ms(record.offered_ns, marks.audio_ns),
    )


def _quality(call: Call) -> Quality | None:
    transport = call.transport
    if transport is None or transport.path is None:
        return None
    stats: PathStats = transport.path.stats
    open_gap_ns = transport.open_gap_ns
    lost = max(stats.lost, 0) + missing_at_end(open_gap_ns)
    expected = stats.packets_received + lost
    rtt_ns = transport.ice.rtt_ns
    return Quality(
        ice_rtt_ms=None if rtt_ns is None else round(rtt_ns / 1e6, 2),
        rtcp_rtt_ms=None if stats.rtt_ms is None else round(stats.rtt_ms, 2),
        jitter_ms=round(stats.jitter_ms, 2),
        buffer_ms=round(stats.buffer_ms, 1),
        packets_sent=stats.packets_sent,
        packets_received=stats.packets_received,
        packets_lost=lost,
        loss_percent=round(100 * lost / expected, 2) if expected else 0.0,
        concealed_ms=stats.concealed_frames * FRAME_MS,
        longest_gap_ms=round(max(transport.gaps.longest_ns, open_gap_ns) / 1e6, 1),
        remote_lost=stats.remote_lost,
        remote_jitter_ms=round(stats.remote_jitter_ms, 2),
        gaps=[
            GapReport(gap.began_ns, round(gap.length_ns / 1e6, 1), gap.lost, gap.is_open)
            for gap in transport.notable_gaps
        ],
    )


def missing_at_end(open_gap_ns: int) -> int:
    """Packets that the gap at the end of the call stands for, by one every 20 ms; what sequence numbers
    cannot tell. None before `LATE_NS`: they may still be on their way.
    """
    return 0 if open_gap_ns < LATE_NS else open_gap_ns // FRAME_NS - 1


def _turn(turn: Turn, events: Sequence[HeardEvent]) -> TurnReport:
    response_ms = turn.response_ms
    return TurnReport(
        None if response_ms is None else round(response_ms, 1),
        turn.answer_frames * FRAME_MS,
        find_budget_untrusted(turn, events),
    )


def render(report: Report) -> str:
    """The report as a text table."""
    rows = [
        ("call", _outcome(report)),
        ("referred to", report.referred_to or ""),
        ("steered to", "" if report.steering is None else describe(report.steering)),
        ("through", _route(report)),
        ("set-up", _setup_text(report.setup)),
        *_quality_rows(report.quality),
        *[row for number, turn in enumerate(report.turns, 1) for row in _turn_rows(number, turn)],
        # Of several turns; one says it all itself.
        *(stage_rows(report.stages_ms) if len(report.turns) > 1 else []),
        *_event_rows(report.events),
    ]
    return "\n".join(f"  {label:<12}{text}" for label, text in rows if text)


def _outcome(report: Report) -> str:
    if report.error is not None:
        return f"failed: {report.error}"
    return "answered" if report.answered else "connected, but no answer was heard"


def _route(report: Report) -> str:
    if report.vip is None:
        return ""
    pop = f"PoP {report.pop}, forwarder {report.forwarder}" if report.pop else "an unnamed PoP"
    moved = f", moved {report.moves} times" if report.moves else ""
    restarted = f", ICE restarted {report.restarts} times" if report.restarts else ""
    return f"{pop}, VIP {report.vip} (from {report.local_address}){moved}{restarted}"


def _ms(value: float | None, digits: int = 1) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def _setup_text(setup: Setup) -> str:
    return (
        f"{_ms(setup.total_ms)} ms = signaling {_ms(setup.signaling_ms)} + ICE {_ms(setup.ice_ms)}"
        f" + DTLS {_ms(setup.dtls_ms)} + first audio {_ms(setup.audio_ms)}"
    )


def _quality_rows(quality: Quality | None) -> list[tuple[str, str]]:
    if quality is None:
        return []
    return [
        (
            "round trip",
            f"{_ms(quality.ice_rtt_ms, 2)} ms by ICE check, {_ms(quality.rtcp_rtt_ms, 2)} ms by RTCP",
        ),
        (
            "received",
            f"{quality.packets_received} packets, {quality.packets_lost} lost ({quality.loss_percent:g} %), "
            f"jitter {_ms(quality.jitter_ms)} ms, buffer {_ms(quality.buffer_ms)} ms, "
            f"concealed {quality.concealed_ms} ms, longest gap {_ms(quality.longest_gap_ms)} ms",
        ),
        (
            "sent",
            f"{quality.packets_sent} packets, {quality.remote_lost} lost on the way, "
            f"jitter there {_ms(quality.remote_jitter_ms)} ms",
        ),
    ]


def _turn_rows(number: int, turn: TurnReport) -> list[tuple[str, str]]:
    lines = [] if turn.budget is None else budget_lines(turn.budget)
    return [(f"turn {number}", _turn_text(turn)), *(("", line) for line in lines)]


def _turn_text(turn: TurnReport) -> str:
    if turn.response_ms is None:
        return "no answer"
    verdict = "within" if turn.response_ms <= RESPONSE_BAR_MS else "over"
    return (
        f"answered {turn.response_ms:.0f} ms after speech ended, {verdict} the bar of {RESPONSE_BAR_MS}; "
        f"{turn.answer_ms / 1000:.1f} s of sound"
    )


def _event_rows(events: list[dict[str, object]]) -> list[tuple[str, str]]:
    """Those that say what was heard and when; the rest is bookkeeping of the protocol."""
    shown = [e for e in events if str(e["type"]).startswith(EVENTS_SHOWN)][:MAX_EVENTS_SHOWN]
    lines = [f"{event['at_ms']:>7.0f} ms  {str(event['type'])[:60]}" for event in shown]
    if len(shown) < len(events):
        lines.append(f"{len(events) - len(shown)} more with --json")
    return [("" if number else "events", line) for number, line in enumerate(lines)]
