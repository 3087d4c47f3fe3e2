"""What parts report under a short name is counted under the series that says so."""

from __future__ import annotations

from core.service.metrics import Series
from transceiver.observer import (
    BACKEND_LOST,
    DATAGRAMS_WITHHELD,
    EVENTS,
    PATH_CHECKS,
    SESSIONS_ENDED,
    SESSIONS_MADE,
    SETUP,
    TURN_LATENCY,
    TURN_STAGE,
    TURNS,
    BackendLoss,
    EndReason,
    NullObserver,
    PathCheck,
    Stage,
    TurnOutcome,
    TurnStage,
    Withheld,
)


class Remembering(NullObserver):
    def __init__(self) -> None:
        self.told: list[tuple[Series, float, tuple[str, ...]]] = []

    def count(self, event: Series, *row: str) -> None:
        self.told.append((event, 1.0, row))

    def observe(self, event: Series, value: float, *row: str) -> None:
        self.told.append((event, value, row))


def test_each_short_name_is_one_event() -> None:
    observer = Remembering()
    observer.setup_stage(Stage.ICE, 0.02)
    observer.turn(0.25)
    observer.observe(TURN_STAGE, 0.1, TurnStage.PACING)
    observer.count(TURNS, TurnOutcome.OVER)
    observer.count(SESSIONS_MADE, "live")
    observer.session_ended(EndReason.SILENT)
    observer.count(BACKEND_LOST, BackendLoss.NO_PONG)
    observer.count(DATAGRAMS_WITHHELD, Withheld.CALL)
    observer.count(PATH_CHECKS, PathCheck.ANSWERED)
    assert observer.told == [
        (SETUP, 0.02, (Stage.ICE,)),
        (TURN_LATENCY, 0.25, ()),
        (TURN_STAGE, 0.1, (TurnStage.PACING,)),
        (TURNS, 1.0, (TurnOutcome.OVER,)),
        (SESSIONS_MADE, 1.0, ("live",)),
        (SESSIONS_ENDED, 1.0, (EndReason.SILENT,)),
        (BACKEND_LOST, 1.0, (BackendLoss.NO_PONG,)),
        (DATAGRAMS_WITHHELD, 1.0, (Withheld.CALL,)),
        (PATH_CHECKS, 1.0, (PathCheck.ANSWERED,)),
    ]
    assert [event for event, _, _ in observer.told] == list(EVENTS)


def test_who_measures_otherwise_can_take_all_of_it() -> None:
    observer = NullObserver()
    observer.count(SESSIONS_ENDED, EndReason.HANGUP)
    observer.observe(TURN_LATENCY, 0.1)
    observer.packet_refused("x")
    observer.request_refused("x")
    observer.turn(0.1)
