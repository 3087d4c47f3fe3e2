"""core.service.cli.scale_report: what is said of a fleet."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings

from core.scale.assumptions import Plan
from core.scale.figures import Figures, Source
from core.scale.fleet import size
from core.service.cli.scale_report import as_text, as_values
from tests.core.scale.kit import ROUND, changed, plans
from tests.paths import ROOT


def test_the_tables_of_round_numbers() -> None:
    text = as_text(size(ROUND))
    for line in (
        "1.2M calls at once of 2m00s, 20.0k begin in the busiest second",
        "PoPs: 3.0M flows, 40.0k begin in that second; 125M packets/s in and as many out",
        "one PoP of 12: 14.0Gbit/s in and as much out, of 168 bytes a frame",
        "PoP hosts: 48, 4 in each of 12 PoPs; 27 by load",
        "without 4 of the PoPs 32 are left, 41% full: they carry all (50% is the plan's limit)",
    ):
        assert line in text.splitlines()


def test_a_fleet_that_is_too_small_is_told_so() -> None:
    text = as_text(size(changed(layout={"pop_hosts": 1})))
    assert "163% full: too few" in text
    text = as_text(size(changed(layout={"pop_hosts": 2})))
    assert "81% full: more than planned for" in text


def test_what_never_ends_is_null_in_json_and_never_in_words() -> None:
    fleet = size(changed(layout={"regions": 1}))
    told = json.loads(json.dumps(as_values(fleet), allow_nan=False))
    assert told["transceivers"][1]["seconds"] is None
    (line,) = [line for line in as_text(fleet).splitlines() if line.startswith("a region of transceivers")]
    assert line.split()[-3:] == ["1.2M", "0", "never"]


@given(plans)
@settings(max_examples=100)
def test_any_plan_can_be_told(plan: Plan) -> None:
    fleet = size(plan)
    json.dumps(as_values(fleet), allow_nan=False)
    assert "nan" not in as_text(fleet)


def test_the_page_has_what_the_command_prints() -> None:
    """Whoever changes the model or a default pastes the output into it, and reads the page again."""
    page = (ROOT / "docs" / "scale.md").read_text()
    assert f"```\n{as_text(size(Plan()))}\n```" in page


@pytest.mark.parametrize("field", dataclasses.fields(Figures), ids=lambda field: field.name)
def test_the_page_has_every_figure(field: dataclasses.Field[float]) -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    source: Source = field.metadata["source"]
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {field.metadata['help']} |")]
    value = f"{field.default:,.6g}" if field.default < 1000 else f"{field.default:,.0f}"  # type: ignore[operator]
    assert row == f"| {field.metadata['help']} | {value} {field.metadata['unit']} | `{source.part}` |"
