"""What a crowd of callers heard, from the lines of `voxpop call --calls N --json`. Values only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import compare

Event = Mapping[str, Any]

RECOVERED_WITHIN_MS = 1000.0
"""A call whose last audio is older than that at its end was not alive any more, whatever it believed."""


def parse(text: str) -> list[Event]:
    """Every whole line that is an event; what the command logs stands between them."""
    lines = text.split("\n")[:-1]
    return [event for line in lines if line.startswith("{") and "event" in (event := json.loads(line))]


@dataclass(frozen=True, slots=True)
class Heard:
    """All of a crowd, after its end."""

    events: Sequence[Event]
    asked_for: int
    """How many calls it was to make."""

    def of(self, kind: str) -> list[Event]:
        """The events of a kind, in their order."""
        return [event for event in self.events if event["event"] == kind]

    @property
    def reports(self) -> list[Event]:
        """One for each call that began."""
        return self.of("report")

    @property
    def failures(self) -> list[str]:
        """Why calls were not set up, a line each."""
        return [f"call {event['call']} was not set up: {event['error']}" for event in self.of("failed")]

    @property
    def losses(self) -> list[str]:
        """Calls that ended, or went silent for good, though nobody wished it; a line each."""
        broken = [f"call {event['call']} broke off: {event['error']}" for event in self.of("lost")]
        return broken + [
            f"call {report['call']} heard nothing any more for its last {gap['ms']:.0f} ms"
            for report in self.reports
            if report["error"] is None
            for gap in _gaps(report)
            if gap["is_open"] and gap["ms"] > RECOVERED_WITHIN_MS
        ]

    @property
    def setups_ms(self) -> list[float]:
        """Of every call that was set up."""
        return [float(event["setup_ms"]) for event in self.of("connected")]

    def gaps_ms(self, since_ns: int) -> list[float]:
        """Of each call the longest time without audio that ended after this moment, on CLOCK_MONOTONIC;
        calls that never were silent for 60 ms have none.
        """
        longest = [
            max((gap["ms"] for gap in _gaps(report) if _end_ns(gap) > since_ns), default=0.0)
            for report in self.reports
        ]
        return [length for length in longest if length]

    def gap_ms(self, since_ns: int) -> float:
        """The longest of any call; 0 where none was silent for 60 ms."""
        return max(self.gaps_ms(since_ns), default=0.0)

    def middle_gap_ms(self, since_ns: int) -> float:
        """The same of the call in the middle of all; 0 where it was never silent for 60 ms."""
        gaps_ms = self.gaps_ms(since_ns)
        return percentile([*gaps_ms, *[0.0] * (len(self.reports) - len(gaps_ms))], 50) if gaps_ms else 0.0

    def gap_before_ms(self, at_ns: int) -> float:
        """The longest of any call from when all were up to this moment: what the machine is late by, when
        nothing else happens to the calls. Of each call only its longest gaps are known, so it may be more.
        """
        up_ns = max((event["at_ns"] for event in self.of("connected")), default=0)
        lengths = (
            gap["ms"]
            for report in self.reports
            for gap in _gaps(report)
            if gap["at_ns"] > up_ns and _end_ns(gap) <= at_ns
        )
        return max(lengths, default=0.0)

    def silences_ms(self, at_ns: int) -> list[float]:
        """Of each call that had no audio at this moment, how long it still had none."""
        ends = (_end_ns(gap) for report in self.reports for gap in _gaps(report) if gap["at_ns"] <= at_ns)
        return [(end - at_ns) / 1e6 for end in ends if end > at_ns]

    @property
    def packets_lost(self) -> int:
        """By sequence numbers at both ends, over the whole of all calls."""
        return sum(_of_quality(report, "packets_lost") for report in self.reports) + self.remote_lost

    @property
    def remote_lost(self) -> int:
        """Of the callers' own packets, as transceivers report it."""
        return sum(_of_quality(report, "remote_lost") for report in self.reports)

    @property
    def packets(self) -> int:
        """All that was sent and heard."""
        names = ("packets_sent", "packets_received")
        return sum(_of_quality(report, name) for report in self.reports for name in names)

    @property
    def moves(self) -> int:
        """How often a call took another candidate."""
        return sum(report["moves"] for report in self.reports)

    @property
    def restarts(self) -> int:
        """ICE restarts."""
        return sum(report["restarts"] for report in self.reports)


def _gaps(report: Event) -> Sequence[Mapping[str, Any]]:
    quality = report["quality"]
    return () if quality is None else quality["gaps"]


def _end_ns(gap: Mapping[str, Any]) -> int:
    return int(gap["at_ns"] + gap["ms"] * 1e6)


def _of_quality(report: Event, name: str) -> int:
    quality = report["quality"]
    return 0 if quality is None else int(quality[name])


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank: a value that was measured, or NaN where none was."""
    return compare.percentile(values, percent) if values else float("nan")
