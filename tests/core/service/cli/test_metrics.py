"""`voxpop metrics reference`, of the sections that it is given."""

from __future__ import annotations

import argparse

import pytest

from core.service.cli import metrics
from core.service.metrics import gauge
from core.service.metrics.reference import Section, write

SECTION = Section(
    "Kettles", "Of a kitchen.", (gauge("voxpop_x_kettles", "Kettles of the kitchen that are on."),)
)


def test_the_page_is_of_the_sections_and_they_are_asked_for_when_it_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[bool] = []

    def sections() -> list[Section]:
        asked.append(True)
        return [SECTION]

    parser = argparse.ArgumentParser()
    metrics.register(parser.add_subparsers(), sections)
    arguments = parser.parse_args(["metrics", "reference"])
    assert not asked
    assert arguments.run(arguments) == 0
    assert capsys.readouterr().out == write([SECTION])
    assert "Kettles of the kitchen that are on." in write([SECTION])
