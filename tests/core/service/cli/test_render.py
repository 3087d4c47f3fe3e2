"""Numbers and tables as operators read them."""

from __future__ import annotations

import pytest

from core.service.cli.render import quantity, table


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (812.4, "812"), (1234, "1.2k"), (256_000, "256k"), (3.4e6, "3.4M"), (5.6e9, "5.6G")],
)
def test_quantities(number: float, text: str) -> None:
    assert quantity(number) == text


def test_a_table_is_in_line() -> None:
    text = table(("NAME", "N"), [("a", 5), ("longer", 1234)], right=frozenset({1}))
    assert text.splitlines() == ["NAME       N", "a          5", "longer  1234"]
