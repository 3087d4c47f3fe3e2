"""Numbers and tables as operators read them."""

from __future__ import annotations

import pytest

from edge.ops.render import duration, quantity, table


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (42.7, "42s"), (190, "3m10s"), (18120, "5h02m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (812.4, "812"), (1234, "1.2k"), (256_000, "256k"), (3.4e6, "3.4M"), (5.6e9, "5.6G")],
)
def test_quantities(number: float, text: str) -> None:
    assert quantity(number) == text


def test_a_table_is_in_line() -> None:
    text = table(("NAME", "N"), [("a", 5), ("longer", 1234)], right=frozenset({1}))
    assert text.splitlines() == ["NAME       N", "a          5", "longer  1234"]
