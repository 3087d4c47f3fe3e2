"""What the time from a caller's last word to the first audio of its answer was spent on. Sans-IO.

A turn has an account, which is told when things happen and is closed when the first frame of the answer is
given out. Its parts follow each other without a gap, so their sum is the whole. What is not known is not in
it: a part that is absent is no part of 0 ms. docs/budget.md says of each what is measured and what estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from transceiver.observer import TURN_STAGE, TURNS, Observer, TurnOutcome, TurnStage

BAR_MS: Final = 300
"""From the last word to the answer: what still feels like talking."""
_BAR_NS: Final = BAR_MS * 1_000_000
_NS_PER_MS: Final = 1_000_000
_WIRE_NS: Final = 100_000
"""A tenth of a millisecond, in which parts are told."""


class Way(Protocol):
    """How the caller's sound comes and ours goes, as of now. All in nanoseconds."""

    @property
    def arrived_ns(self) -> int | None:
        """When the packet came of which the backend hears a frame now, without what jitter has held it back;
        None where that is not known.
        """

    @property
    def packing_ns(self) -> int:
        """How much later than the end of that frame its packet can have left, for all that is in it."""

    @property
    def round_trip_ns(self) -> int | None:
        """Between the client and us, without what jitter adds; None before it is known."""

    @property
    def leaving_ns(self) -> int:
        """From the deadline of the tick under way to when what is said in it goes out as a packet."""


class UnknownWay:
    """The `Way` of who is not told: frames come from nowhere, and leave at once."""

    arrived_ns: int | None = None
    packing_ns = 0
    round_trip_ns: int | None = None
    leaving_ns = 0


NO_WAY: Final[Way] = UnknownWay()


class LastWord:
    """The last frame that was speech. Renewed with each, so it is a few integers that change."""

    __slots__ = ("_way", "arrived_ns", "heard_ns", "packing_ns")

    def __init__(self, way: Way) -> None:
        self._way = way
        self.heard_ns: int | None = None
        """When the backend heard it; None before the first."""
        self.arrived_ns: int | None = None
        self.packing_ns = 0

    def renew(self, now_ns: int) -> None:
        """The frame that is heard now is speech."""
        self.heard_ns = now_ns
        self.arrived_ns = self._way.arrived_ns
        self.packing_ns = self._way.packing_ns


class TurnAccount:
    """Of one turn that is over since `ended_ns`. Without `word`, nothing is known of what was before."""

    __slots__ = ("arrived_ns", "audio_ns", "ended_ns", "heard_ns", "packing_ns")

    def __init__(self, ended_ns: int, word: LastWord | None = None) -> None:
        self.ended_ns = ended_ns
        self.heard_ns = None if word is None else word.heard_ns
        self.arrived_ns = None if word is None else word.arrived_ns
        self.packing_ns = 0 if word is None else word.packing_ns
        self.audio_ns: int | None = None
        """When the backend's first audio came."""

    def audio_came(self, now_ns: int) -> None:
        """The backend's audio is here; the first time counts."""
        if self.audio_ns is None:
            self.audio_ns = now_ns

    def close(self, now_ns: int, way: Way) -> Budget:
        """The first frame of the answer is given out in the tick of `now_ns`."""
        round_trip_ns = way.round_trip_ns
        one_way_ns = 0 if round_trip_ns is None else round_trip_ns // 2
        stages: dict[TurnStage, int] = {}
        if self.arrived_ns is not None and round_trip_ns is not None:
            stages[TurnStage.NETWORK] = self.packing_ns + one_way_ns
        mark_ns = self.arrived_ns
        audio_ns = now_ns if self.audio_ns is None else self.audio_ns
        for stage, at_ns in (
            (TurnStage.JITTER_BUFFER, self.heard_ns),
            (TurnStage.END_OF_TURN, self.ended_ns),
            (TurnStage.BACKEND, audio_ns),
            (TurnStage.PACING, now_ns),
        ):
            if at_ns is None:
                continue
            # Ticks count by their deadlines, so what comes while one is overdue seems to come after it.
            end_ns = at_ns if mark_ns is None else max(at_ns, mark_ns)
            if mark_ns is not None:
                stages[stage] = end_ns - mark_ns
            mark_ns = end_ns
        assert mark_ns is not None
        stages[TurnStage.WAY_OUT] = max(0, now_ns + way.leaving_ns - mark_ns) + one_way_ns
        return Budget(stages, round_trip_ns)


@dataclass(frozen=True, slots=True)
class Budget:
    """Where the time went."""

    stages: dict[TurnStage, int]
    """Nanoseconds, in order of time."""
    round_trip_ns: int | None
    """Of which half is in the way in and half in the way out; None: neither has any of the network."""

    @property
    def total_ns(self) -> int:
        """Of what is known."""
        return sum(self.stages.values())

    @property
    def has_last_word(self) -> bool:
        """Whether it begins with the caller, and not with a backend's word that a turn is over."""
        return TurnStage.END_OF_TURN in self.stages

    def wire(self) -> dict[str, object]:
        """For events: milliseconds to a tenth, whose sum is `total_ms`."""
        told: dict[str, object] = {"since": "last_word" if self.has_last_word else "speech_stopped"}
        elapsed_ns = before = 0
        for stage, lasted_ns in self.stages.items():
            elapsed_ns += lasted_ns
            at = round(elapsed_ns / _WIRE_NS)
            told[f"{stage}_ms"] = (at - before) / 10
            before = at
        told["total_ms"] = before / 10
        if self.round_trip_ns is not None:
            told["round_trip_ms"] = round(self.round_trip_ns / _NS_PER_MS, 1)
        return told


class Budgets:
    """Of one session: opens accounts, and closes them for whoever is to know."""

    def __init__(self, observer: Observer, way: Way) -> None:
        self._observer = observer
        self._way = way

    def last_word(self) -> LastWord:
        """For who tells the caller's turns apart."""
        return LastWord(self._way)

    def close(self, account: TurnAccount, now_ns: int) -> dict[str, object]:
        """The answer begins. Counts it; the members for the `voxpop` of `output_audio_buffer.started`."""
        budget = account.close(now_ns, self._way)
        told: dict[str, object] = {}
        if account.heard_ns is not None:
            since_speech_ns = now_ns - account.heard_ns
            self._observer.turn(since_speech_ns / 1e9)
            told["since_speech_ms"] = round(since_speech_ns / _NS_PER_MS)
        for stage, lasted_ns in budget.stages.items():
            self._observer.observe(TURN_STAGE, lasted_ns / 1e9, stage)
        if budget.has_last_word:
            is_over = budget.total_ns > _BAR_NS
            self._observer.count(TURNS, TurnOutcome.OVER if is_over else TurnOutcome.WITHIN)
        return {**told, "budget": budget.wire()}
