"""The table of quotas: what it is without one, and that unlimited is a word."""

from __future__ import annotations

import dataclasses

import pytest

from core.config import UNLIMITED, QuotaSettings
from core.schema import read_table


def read(**table: object) -> tuple[QuotaSettings | None, list[str]]:
    problems: list[str] = []
    return read_table(QuotaSettings, table, "quotas", problems), problems


def test_everything_has_a_bound_unless_the_room_of_the_host_says_it() -> None:
    quotas, problems = read()
    assert (quotas, problems) == (QuotaSettings(), [])
    values = dataclasses.asdict(QuotaSettings())
    assert {name for name, value in values.items() if value is None} == {"pending_calls", "live_calls"}
    assert UNLIMITED not in values.values()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(QuotaSettings)])
def test_unlimited_has_to_be_written(name: str) -> None:
    quotas, _ = read(**{name: "unlimited"})
    assert getattr(quotas, name) == UNLIMITED
    for value in (0, -1, True, "none", 1.5):
        assert f"quotas.{name} must be a whole number" in read(**{name: value})[1][0]
