"""When a turn begins and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.turns.rule import START_VOICED, Transition, TurnRule, to_frames


def transitions(voiced: str, silence_duration_ms: int = 100) -> list[tuple[int, str]]:
    rule = TurnRule(silence_duration_ms)
    found = []
    for position, mark in enumerate(voiced):
        transition = rule.push(position, mark == "#")
        if transition is not None:
            found.append((position, transition.value))
    return found


@pytest.mark.parametrize(
    ("voiced", "expected"),
    [
        ("....", []),
        ("..##....##..", []),
        ("..#..#..#..", []),
        ("..###", [(4, "started")]),
        ("..#.##", [(5, "started")]),
        ("..##.#", [(5, "started")]),
        ("###.....", [(2, "started"), (7, "stopped")]),
        ("###....#.....", [(2, "started"), (12, "stopped")]),
        ("###....#....", [(2, "started")]),
        ("###.....###.....", [(2, "started"), (7, "stopped"), (10, "started"), (15, "stopped")]),
        ("##.....###", [(9, "started")]),
    ],
)
def test_turns_start_and_stop_at_exact_frames(voiced: str, expected: list[tuple[int, str]]) -> None:
    assert transitions(voiced) == expected


@pytest.mark.parametrize(("silence_ms", "frames"), [(20, 1), (21, 2), (200, 10), (500, 25), (10_000, 500)])
def test_the_silence_that_ends_a_turn_is_exact(silence_ms: int, frames: int) -> None:
    assert to_frames(silence_ms) == frames
    assert transitions("###" + "." * (frames - 1), silence_ms) == [(2, "started")]
    assert transitions("###" + "." * frames, silence_ms) == [(2, "started"), (2 + frames, "stopped")]


def test_the_rule_knows_where_the_speech_lay() -> None:
    rule = TurnRule(60)
    for position, mark in enumerate("...#.##..#...", start=100):
        rule.push(position, mark == "#")
    assert (rule.first_voiced, rule.after_voiced, rule.in_turn) == (103, 110, False)


def test_an_abandoned_turn_needs_a_whole_new_start() -> None:
    rule = TurnRule(60)
    for position in range(3):
        rule.push(position, True)
    rule.abandon()
    assert [rule.push(position, True) for position in (3, 4, 5)] == [None, None, Transition.STARTED]


@given(st.text(alphabet="#.", max_size=200), st.integers(20, 400))
def test_starts_and_stops_alternate(voiced: str, silence_ms: int) -> None:
    found = transitions(voiced, silence_ms)
    assert [name for _, name in found] == ["started", "stopped"] * (len(found) // 2) + ["started"] * (
        len(found) % 2
    )
    for (start, _), (stop, _) in zip(found[::2], found[1::2], strict=False):
        assert stop - start >= to_frames(silence_ms)
        assert voiced[stop - to_frames(silence_ms) + 1 : stop + 1] == "." * to_frames(silence_ms)
    for start, _ in found[::2]:
        assert voiced[: start + 1].count("#") >= START_VOICED
