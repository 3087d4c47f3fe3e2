"""core.scale.plan: tables in, tables out."""

from __future__ import annotations

import tomllib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.scale.assumptions import Plan
from core.scale.plan import merged, read, show
from tests.core.scale.kit import ROUND, plans


def test_nothing_said_is_the_usual() -> None:
    problems: list[str] = []
    assert read({}, problems) == Plan()
    assert problems == []


def test_what_is_shown_is_what_is_read() -> None:
    problems: list[str] = []
    assert read(tomllib.loads(show(ROUND)), problems) == ROUND
    assert problems == []


@given(plans)
def test_any_plan_can_be_shown_and_read(plan: Plan) -> None:
    problems: list[str] = []
    assert read(tomllib.loads(show(plan)), problems) == plan, problems


def test_each_key_is_explained() -> None:
    lines = [line for line in show(Plan()).splitlines() if " = " in line]
    assert all(" # " in line for line in lines)
    assert "# share of PoPs that may be lost at once (0–0.9)" in show(Plan())
    assert "make bench ONLY=recall)" in show(Plan())


def test_every_fault_is_named_at_once() -> None:
    problems: list[str] = []
    document = {
        "traffic": {"calls": 0, "call": 3},
        "pop": {"workers": 1.5, "cores": "many"},
        "figure": {},
        "layout": 7,
    }
    assert read(document, problems) is None
    assert problems == [
        "[figure] is not a table; did you mean figures?",
        "traffic.call is not a setting; did you mean calls?",
        "traffic.calls must be a number, 1–1e+09 calls",
        "pop.cores must be a number, 1–1024",
        "pop.workers must be a whole number, 1–1024",
        "layout must be a table",
    ]


def test_later_tables_count() -> None:
    first = {"traffic": {"calls": 1, "call_s": 2}, "pop": {"cores": 3}}
    second = {"traffic": {"calls": 4}, "layout": {"pops": 5}}
    assert merged(first, second) == {
        "traffic": {"calls": 4, "call_s": 2},
        "pop": {"cores": 3},
        "layout": {"pops": 5},
    }
    assert first == {"traffic": {"calls": 1, "call_s": 2}, "pop": {"cores": 3}}


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.lists(st.integers())))
def test_nonsense_is_refused_or_passed_over_but_never_raises(document: dict[str, object]) -> None:
    problems: list[str] = []
    assert (read(document, problems) is None) is bool(problems)


def test_numbers_are_written_as_numbers() -> None:
    text = show(replace(Plan(), traffic=replace(Plan().traffic, calls=123_456_789.0, call_s=1.5)))
    assert "calls = 123456789 " in text
    assert "call_s = 1.5 " in text
