"""Where the time of a turn went: what the server says of it, joined with what was heard here."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from transceiver.caller.call import HeardEvent
from transceiver.caller.conversation import Turn
from transceiver.caller.failures import printable_untrusted
from transceiver.caller.spread import Spread
from transceiver.observer import TurnStage

STARTED, DONE = "output_audio_buffer.started", "response.done"
SAME_ANSWER_NS = 1_000_000_000
"""Between the sound of an answer and the event that announces it."""
LONGEST_MS = 600_000.0
MAX_BACKEND_STAGES = 16
LINE_CHARS = 86
"""With the label before it, 100 columns."""
_NO_BREAK = "\u00a0"
PLAYOUT, REST = "playout", "rest"
PARTS = (*(str(stage) for stage in TurnStage), PLAYOUT, REST)
"""All that a turn's time is split into, in order."""


@dataclass(frozen=True, slots=True)
class TurnBudget:
    """The parts of one turn's `response_ms`; their sum is that."""

    stages_ms: dict[str, float]
    """By `PARTS`: the server's stages as far as it knows them; `playout`, from the arrival of the answer's
    first sound to when it was played here; and `rest`, all that is none of these, which may be below zero.
    """
    since: str
    """What the server's stages begin with: `last_word`, or `speech_stopped` of a backend."""
    round_trip_ms: float | None
    """That the server has reckoned with."""
    backend_stages_ms: dict[str, float] = field(default_factory=dict)
    """What the backend says of its own part."""


def find_budget_untrusted(turn: Turn, events: Iterable[HeardEvent]) -> TurnBudget | None:
    """None where the server says nothing of that answer."""
    events = list(events)
    started = _announcement(turn, events)
    told = None if started is None else _ours(started).get("budget")
    if started is None or not isinstance(told, Mapping) or turn.response_ms is None:
        return None
    stages = {str(stage): told.get(f"{stage}_ms") for stage in TurnStage}
    known = {name: ms for name, value in stages.items() if (ms := _ms(value)) is not None}
    if turn.playout_ms is not None:
        known[PLAYOUT] = round(turn.playout_ms, 1)
    known[REST] = round(turn.response_ms - sum(known.values()), 1)
    since = "last_word" if told.get("since") == "last_word" else "speech_stopped"
    own = _backend_stages(started.get("response_id"), events)
    return TurnBudget(known, since, _ms(told.get("round_trip_ms")), own)


def _announcement(turn: Turn, events: Sequence[HeardEvent]) -> Mapping[str, object] | None:
    """The event that came with the answer's first sound."""
    heard_ns = turn.answer_ns
    if heard_ns is None:
        return None
    near = [
        (abs(heard.at_ns - heard_ns), heard.event)
        for heard in events
        if heard.type == STARTED and heard.at_ns >= turn.speech_end_ns
    ]
    distance_ns, event = min(near, key=lambda each: each[0], default=(SAME_ANSWER_NS, {}))
    return event if distance_ns < SAME_ANSWER_NS else None


def _backend_stages(response_id: object, events: Sequence[HeardEvent]) -> dict[str, float]:
    for heard in events:
        response = heard.event.get("response") if heard.type == DONE else None
        if response_id is None or not isinstance(response, Mapping) or response.get("id") != response_id:
            continue
        told = _ours(heard.event).get("stages_ms")
        if isinstance(told, Mapping):
            named = list(told.items())[:MAX_BACKEND_STAGES]
            return {
                printable_untrusted(str(name))[:32]: ms
                for name, value in named
                if name != "total" and (ms := _ms(value)) is not None
            }
    return {}


def _ours(event: Mapping[str, object]) -> Mapping[str, object]:
    members = event.get("voxpop")
    return members if isinstance(members, Mapping) else {}


def _ms(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Not a number, and endless, are outside as well.
    return float(value) if 0 <= value <= LONGEST_MS else None


def spread_stages(budgets: Sequence[TurnBudget | None]) -> dict[str, Spread]:
    """Of many turns, by `PARTS`; of each part over the turns in which it is known."""
    spreads = {}
    for part in PARTS:
        known = [budget.stages_ms[part] for budget in budgets if budget and part in budget.stages_ms]
        spread = Spread.of(known)
        if spread is not None:
            spreads[part] = spread
    return spreads


def words(part: str) -> str:
    """For people."""
    return "own buffer" if part == PLAYOUT else part.replace("_", " ")


def budget_lines(budget: TurnBudget) -> list[str]:
    """The sum, and what the backend says of its part."""
    terms = [f"{words(part)} {ms:.1f}".replace(" ", _NO_BREAK) for part, ms in budget.stages_ms.items()]
    whole = f"={_NO_BREAK}" + f" +{_NO_BREAK}".join(terms)
    lines = [line.replace(_NO_BREAK, " ") for line in textwrap.wrap(whole, LINE_CHARS)]
    if budget.backend_stages_ms:
        own = ", ".join(f"{words(name)} {ms:.1f}" for name, ms in budget.backend_stages_ms.items())
        lines.append(f"backend: {own}")
    return lines


def stage_rows(spreads: Mapping[str, Spread]) -> list[tuple[str, str]]:
    """Labels and texts, one for each part."""
    return [
        ("" if number else "stages", f"{words(part):<14}p50 {each.p50:.1f}, p95 {each.p95:.1f} ms")
        for number, (part, each) in enumerate(spreads.items())
    ]
