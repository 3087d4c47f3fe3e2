"""What a server says of a turn, joined with what was heard of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.caller.budget import (
    MAX_BACKEND_STAGES,
    PARTS,
    TurnBudget,
    budget_lines,
    find_budget_untrusted,
    spread_stages,
    stage_rows,
)
from transceiver.caller.call import HeardEvent
from transceiver.caller.conversation import Turn
from transceiver.caller.spread import Spread

MS = 1_000_000
TOLD = {
    "since": "last_word",
    "network_ms": 1.5,
    "jitter_buffer_ms": 30.0,
    "end_of_turn_ms": 160.0,
    "backend_ms": 0.0,
    "pacing_ms": 0.0,
    "way_out_ms": 8.0,
    "total_ms": 199.5,
    "round_trip_ms": 3.0,
}


def turn(at_ms: int = 1000) -> Turn:
    """The answer came 240 ms later, 32 ms after its packet."""
    return Turn(at_ms * MS, (at_ms + 240) * MS, 50, (at_ms + 208) * MS)


def started(at_ms: int, told: object = TOLD, response_id: str = "resp_1") -> HeardEvent:
    event = {"type": "output_audio_buffer.started", "response_id": response_id, "voxpop": {"budget": told}}
    return HeardEvent(at_ms * MS, event)


def done(stages: object, response_id: str = "resp_1") -> HeardEvent:
    event = {"type": "response.done", "response": {"id": response_id}, "voxpop": {"stages_ms": stages}}
    return HeardEvent(2000 * MS, event)


def test_the_parts_are_the_servers_our_own_and_the_rest() -> None:
    budget = find_budget_untrusted(turn(), [started(1205)])
    assert budget is not None
    assert list(budget.stages_ms) == list(PARTS)
    assert (budget.stages_ms["playout"], budget.stages_ms["rest"]) == (32.0, 8.5)
    assert sum(budget.stages_ms.values()) == pytest.approx(240)
    assert (budget.since, budget.round_trip_ms, budget.backend_stages_ms) == ("last_word", 3.0, {})


def test_what_the_server_does_not_know_is_in_the_rest() -> None:
    told = {"since": "speech_stopped", "backend_ms": 100.0, "pacing_ms": 10.0, "way_out_ms": 8.0}
    budget = find_budget_untrusted(turn(), [started(1205, told)])
    assert budget is not None
    assert list(budget.stages_ms) == ["backend", "pacing", "way_out", "playout", "rest"]
    assert budget.stages_ms["rest"] == 240 - 118 - 32
    assert (budget.since, budget.round_trip_ms) == ("speech_stopped", None)


@pytest.mark.parametrize("order", [1, -1])
def test_each_turn_gets_what_was_said_of_its_own_answer(order: int) -> None:
    first, second = {**TOLD, "backend_ms": 1.0}, {**TOLD, "backend_ms": 2.0}
    events = [started(1205, first), started(5205, second), started(900, {**TOLD, "backend_ms": 3.0})][::order]
    found = [find_budget_untrusted(each, events) for each in (turn(1000), turn(5000))]
    assert [budget.stages_ms["backend"] for budget in found if budget] == [1.0, 2.0]


def test_what_the_backend_says_of_itself_comes_along() -> None:
    stages = {"recognition": 17.0, "speech": 30.5, "total": 47.5}
    events = [done({"x": 1.0}, "resp_0"), started(1205), done(stages)]
    budget = find_budget_untrusted(turn(), events)
    assert budget is not None
    assert budget.backend_stages_ms == {"recognition": 17.0, "speech": 30.5}


@pytest.mark.parametrize(
    "events",
    [
        [],
        [started(900)],
        [started(2500)],
        [started(1205, None)],
        [started(1205, "much")],
        [HeardEvent(1205 * MS, {"type": "output_audio_buffer.started", "voxpop": []})],
    ],
    ids=["nothing", "before", "long after", "null", "text", "a list"],
)
def test_without_a_word_about_that_answer_there_is_no_budget(events: list[HeardEvent]) -> None:
    assert find_budget_untrusted(turn(), events) is None


def test_without_an_answer_there_is_no_budget() -> None:
    assert find_budget_untrusted(Turn(1000 * MS), [started(1205)]) is None


ODD = ["8", None, True, -1.0, float("nan"), float("inf"), 1e9, [1], 10**400]


@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:8])
def test_what_is_no_time_is_not_told(value: object) -> None:
    budget = find_budget_untrusted(turn(), [started(1205, {**TOLD, "backend_ms": value}), done({"x": value})])
    assert budget is not None
    assert "backend" not in budget.stages_ms
    assert budget.backend_stages_ms == {}
    assert sum(budget.stages_ms.values()) == pytest.approx(240)


def test_a_backend_with_many_stages_and_odd_names_is_cut_short() -> None:
    stages = {f"\x1b[31m{number}{'x' * 100}": 1.0 for number in range(100)}
    budget = find_budget_untrusted(turn(), [started(1205), done(stages)])
    assert budget is not None
    assert len(budget.backend_stages_ms) == MAX_BACKEND_STAGES
    assert all(len(name) <= 32 and name.isprintable() for name in budget.backend_stages_ms)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(told=JSON, stages=JSON, extra=st.dictionaries(st.sampled_from(list(TOLD)), JSON))
def test_no_answer_of_a_server_is_too_odd(told: object, stages: object, extra: Mapping[str, object]) -> None:
    for each in (told, {**TOLD, **extra}):
        find_budget_untrusted(turn(), [started(1205, each), done(stages)])


def test_a_long_sum_breaks_between_its_terms() -> None:
    budget = TurnBudget(dict.fromkeys(PARTS, 100.0), "last_word", None, {"recognition": 17.0, "speech": 30.5})
    assert budget_lines(budget) == [
        "= network 100.0 + jitter buffer 100.0 + end of turn 100.0 + backend 100.0",
        "+ pacing 100.0 + way out 100.0 + own buffer 100.0 + rest 100.0",
        "backend: recognition 17.0, speech 30.5",
    ]


def test_the_spread_of_a_part_is_over_the_turns_that_have_it() -> None:
    budgets = [TurnBudget({"backend": float(n), "rest": 5.0}, "last_word", None) for n in range(1, 101)]
    spreads = spread_stages([*budgets, None, TurnBudget({"rest": 5.0}, "speech_stopped", None)])
    assert spreads == {"backend": Spread(50.0, 95.0, 100.0), "rest": Spread(5.0, 5.0, 5.0)}
    assert stage_rows(spreads) == [
        ("stages", "backend       p50 50.0, p95 95.0 ms"),
        ("", "rest          p50 5.0, p95 5.0 ms"),
    ]
    assert spread_stages([None]) == {}
