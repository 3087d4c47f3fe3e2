"""The account of a turn: exact stamps in, exact parts out, and nothing between them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.service.metrics import Series
from transceiver.observer import TURN_LATENCY, TURN_STAGE, TURNS, NullObserver, TurnStage
from transceiver.turns.budget import NO_WAY, Budget, Budgets, LastWord, TurnAccount, Way

MS = 1_000_000


@dataclass
class Known:
    """A `Way` of which all is known."""

    arrived_ns: int | None = 100 * MS
    packing_ns: int = 0
    round_trip_ns: int | None = 50 * MS
    leaving_ns: int = 7 * MS


def account(way: Way, *, heard_ms: int = 130, ended_ms: int = 290, audio_ms: int = 400) -> TurnAccount:
    word = LastWord(way)
    word.renew(heard_ms * MS)
    opened = TurnAccount(ended_ms * MS, word)
    opened.audio_came(audio_ms * MS)
    return opened


def in_ms(budget: Budget) -> dict[str, float]:
    return {str(stage): lasted_ns / MS for stage, lasted_ns in budget.stages.items()}


def test_each_stage_lasts_from_one_stamp_to_the_next() -> None:
    budget = account(Known()).close(410 * MS, Known())
    assert in_ms(budget) == {
        "network": 25,
        "jitter_buffer": 30,
        "end_of_turn": 160,
        "backend": 110,
        "pacing": 10,
        "way_out": 7 + 25,
    }
    assert budget.total_ns == (410 + 7 - 100 + 50) * MS
    assert budget.wire() == {
        "since": "last_word",
        "network_ms": 25.0,
        "jitter_buffer_ms": 30.0,
        "end_of_turn_ms": 160.0,
        "backend_ms": 110.0,
        "pacing_ms": 10.0,
        "way_out_ms": 32.0,
        "total_ms": 367.0,
        "round_trip_ms": 50.0,
    }


DELAYED = {
    "network": (Known(packing_ns=40 * MS), 130, 290, 400, 410, Known()),
    "jitter_buffer": (Known(), 170, 330, 440, 450, Known()),
    "end_of_turn": (Known(), 130, 330, 440, 450, Known()),
    "backend": (Known(), 130, 290, 440, 450, Known()),
    "pacing": (Known(), 130, 290, 400, 450, Known()),
    "way_out": (Known(), 130, 290, 400, 410, Known(leaving_ns=47 * MS)),
}


@pytest.mark.parametrize("stage", DELAYED)
def test_what_one_stage_takes_longer_is_in_that_stage_alone(stage: str) -> None:
    way, heard_ms, ended_ms, audio_ms, started_ms, out = DELAYED[stage]
    usual = in_ms(account(Known()).close(410 * MS, Known()))
    opened = account(way, heard_ms=heard_ms, ended_ms=ended_ms, audio_ms=audio_ms)
    assert in_ms(opened.close(started_ms * MS, out)) == {**usual, stage: usual[stage] + 40}


def test_without_a_round_trip_nothing_of_the_network_is_in_it() -> None:
    silent = Known(round_trip_ns=None)
    budget = account(silent).close(410 * MS, silent)
    assert TurnStage.NETWORK not in budget.stages
    assert budget.stages[TurnStage.WAY_OUT] == 7 * MS
    assert budget.total_ns == (410 + 7 - 100) * MS
    assert "round_trip_ms" not in budget.wire()


def test_of_a_frame_from_nowhere_the_time_begins_when_it_is_heard() -> None:
    budget = account(NO_WAY).close(410 * MS, NO_WAY)
    assert in_ms(budget) == {"end_of_turn": 160, "backend": 110, "pacing": 10, "way_out": 0}


def test_of_a_turn_that_a_backend_has_ended_nothing_before_is_known() -> None:
    opened = TurnAccount(290 * MS)
    opened.audio_came(400 * MS)
    budget = opened.close(410 * MS, Known())
    assert in_ms(budget) == {"backend": 110, "pacing": 10, "way_out": 32}
    assert budget.wire()["since"] == "speech_stopped"
    assert not budget.has_last_word


def test_the_first_audio_counts() -> None:
    opened = account(Known(), audio_ms=350)
    opened.audio_came(405 * MS)
    assert in_ms(opened.close(410 * MS, Known()))["backend"] == 60


def test_an_account_keeps_the_word_that_its_turn_has_ended_with() -> None:
    word = LastWord(Known())
    word.renew(130 * MS)
    opened = TurnAccount(290 * MS, word)
    word.renew(300 * MS)
    assert in_ms(opened.close(310 * MS, Known()))["end_of_turn"] == 160


def test_audio_that_comes_while_its_tick_is_overdue_takes_nothing_back() -> None:
    budget = account(Known(), audio_ms=413).close(410 * MS, Known(leaving_ns=8 * MS))
    assert in_ms(budget) | {"backend": 123, "pacing": 0, "way_out": 5 + 25} == in_ms(budget)
    assert budget.total_ns == (410 + 8 - 100 + 50) * MS


times = st.integers(0, 10_000 * MS)


@given(
    stamps=st.lists(times, min_size=5, max_size=5).map(sorted),
    round_trip_ns=st.none() | st.integers(0, 2_000 * MS).map(lambda half: 2 * half),
    leaving_ns=times,
    packing_ns=times,
)
def test_the_sum_of_the_parts_is_the_whole(
    stamps: list[int], round_trip_ns: int | None, leaving_ns: int, packing_ns: int
) -> None:
    arrived, heard, ended, audio, started = stamps
    way = Known(arrived, packing_ns, round_trip_ns, leaving_ns)
    word = LastWord(way)
    word.renew(heard)
    opened = TurnAccount(ended, word)
    opened.audio_came(audio)
    budget = opened.close(started, way)
    network = 0 if round_trip_ns is None else round_trip_ns + packing_ns
    assert budget.total_ns == started + leaving_ns - arrived + network
    assert all(lasted >= 0 for lasted in budget.stages.values())
    told = budget.wire()
    parts = [told[f"{stage}_ms"] for stage in budget.stages]
    assert sum(round(part * 10) for part in parts if isinstance(part, float)) == round(told["total_ms"] * 10)  # type: ignore[operator]


@given(stamps=st.lists(times, min_size=5, max_size=5), leaving_ns=times)
def test_stamps_in_any_order_give_no_negative_part(stamps: list[int], leaving_ns: int) -> None:
    arrived, heard, ended, audio, started = stamps
    way = Known(arrived, 0, 0, leaving_ns)
    word = LastWord(way)
    word.renew(heard)
    opened = TurnAccount(ended, word)
    opened.audio_came(audio)
    budget = opened.close(started, way)
    assert all(lasted >= 0 for lasted in budget.stages.values())
    assert budget.total_ns == max(started + leaving_ns, *stamps) - arrived


class Remembering(NullObserver):
    def __init__(self) -> None:
        self.told: list[tuple[Series, float, tuple[str, ...]]] = []

    def count(self, event: Series, *row: str) -> None:
        self.told.append((event, 1, row))

    def observe(self, event: Series, value: float, *row: str) -> None:
        self.told.append((event, round(value, 4), row))


@pytest.mark.parametrize(("started_ms", "outcome"), [(343, "within"), (344, "over")])
def test_stages_are_observed_and_turns_counted_by_the_bar(started_ms: int, outcome: str) -> None:
    observer = Remembering()
    opened = account(Known(), audio_ms=310)
    told = Budgets(observer, Known()).close(opened, started_ms * MS)
    assert told["since_speech_ms"] == started_ms - 130
    assert observer.told[0] == (TURN_LATENCY, (started_ms - 130) / 1000, ())
    assert [row for event, _, row in observer.told if event is TURN_STAGE] == [
        (stage,) for stage in TurnStage
    ]
    assert observer.told[-1] == (TURNS, 1, (outcome,))


def test_a_turn_without_its_last_word_is_neither_within_nor_over() -> None:
    observer = Remembering()
    opened = TurnAccount(290 * MS)
    told = Budgets(observer, Known()).close(opened, 900 * MS)
    assert list(told) == ["budget"]
    assert {event for event, _, _ in observer.told} == {TURN_STAGE}


def test_300_ms_is_an_edge_of_the_buckets() -> None:
    assert 0.3 in TURN_STAGE.buckets
