"""What a soak has to show, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.soak.resources import growth
from tests.soak.soak import Found, Plan
from transceiver.media import FRAME_MS

MEMORY = "memory stays"
WARM_UP_S = 1200.0
"""In which caches, arenas and pools of all processes fill, and so do the conversations of calls that stay."""
JUDGED_S = 3600.0
"""In less the memory is told and not judged: most of it would be warm-up."""
SKIPPED_SHARE = 1e-3
"""Of all frames of a process. Where more were skipped, other things had the processor, and what is left says
nothing of our clock.
"""
GROWTH_SHARE, GROWTH_MIB = 0.03, 4.0
"""Of all memory, or so much, whichever is more: what one heap that is cut otherwise takes or gives."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One of them."""

    name: str
    seen: str
    is_met: bool


def judge(found: Found) -> list[Bar]:
    """All bars; what was broken off is judged by what there is of it."""
    tally = found.tally
    asked = tally.answers + tally.unanswered
    return [
        _memory(found),
        Bar("what calls held is given back", _counts(found.left) or "all", not found.left),
        _drift(found),
        Bar("calls come about and last", f"{tally.calls}, failed {_first(tally.failed)}", not tally.failed),
        # What was asked in the moment of a cut has no answer, and neither has who is cut before it is said.
        Bar(
            "turns are answered, but for those that were cut",
            f"{tally.answers} of {asked}, {found.losses} cut",
            tally.answers > 0 and tally.unanswered <= found.losses,
        ),
        Bar("answers are broken into", str(tally.interruptions), tally.interruptions > 0),
        Bar("connections are cut, and no call by it", str(found.cuts), found.cuts > 0),
        Bar("the log has nothing that cuts do not explain", _first(found.log), not found.log),
    ]  # fmt: skip


def _memory(found: Found) -> Bar:
    try:
        grown = growth(found.samples, min(WARM_UP_S, found.plan.seconds / 3))
    except ValueError as error:
        return Bar(MEMORY, str(error), not found.is_whole)
    seen = (
        f"{grown.before_mib:.1f} → {grown.after_mib:.1f} MiB ({grown.share:+.1%}), "
        f"slope {grown.per_hour_mib:+.1f} MiB/h"
    )
    if found.plan.seconds < JUDGED_S:
        return Bar(MEMORY, f"{seen}; not judged in less than {JUDGED_S / 60:.0f} minutes", True)
    limit_mib = max(GROWTH_MIB, GROWTH_SHARE * grown.before_mib)
    return Bar(MEMORY, seen, grown.after_mib - grown.before_mib <= limit_mib)


def _drift(found: Found) -> Bar:
    """A frame that the clock has left out, on a machine that was late for it, is told and is not drift."""
    worst = max(map(abs, found.tally.drift_ms), default=0.0)
    seen = f"{worst:.2f} ms over the lasting calls, {found.skipped_frames} frames skipped by a late clock"
    is_met = worst < FRAME_MS * (1 + found.skipped_frames)
    if found.plan.seconds >= JUDGED_S and found.skipped_frames > _frames(found.plan) * SKIPPED_SHARE:
        seen, is_met = f"{seen}: this machine had too little time for us", False
    is_known = bool(found.tally.drift_ms) or not found.is_whole
    return Bar("media keep time to a frame", seen, is_met and is_known)


def _frames(plan: Plan) -> float:
    """That the clocks of all processes come to."""
    return plan.seconds * 1000 / FRAME_MS * plan.processes


def _counts(left: dict[str, int]) -> str:
    return ", ".join(f"{count} {name} more" for name, count in left.items())


def _first(lines: Sequence[str]) -> str:
    return f"{len(lines)}, the first: {lines[0]}" if lines else "none"


def render(bars: Sequence[Bar]) -> str:
    """As a text table."""
    width = max(len(bar.name) for bar in bars)
    return "\n".join(
        f"{'met   ' if bar.is_met else 'MISSED'}  {bar.name:{width}}  {bar.seen}" for bar in bars
    )


def as_json(found: Found, bars: Sequence[Bar]) -> dict[str, object]:
    """The same, with all samples."""
    return {"bars": [asdict(bar) for bar in bars], "found": asdict(found)}
