"""The pages: prose within 100 columns, and links that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import PAGES
from tests.paths import ROOT

COLUMNS = 100


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of what can be wrapped: neither code nor tables, nor one word that is too long."""
    is_code = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith(("|", "    ")) and " " in line.strip():
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_wraps_at_100_columns(page: Path) -> None:
    assert [f"{page.name}:{number}" for number, line in prose(page) if len(line) > COLUMNS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    gone = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert gone == []


def test_tests_that_a_page_names_are_there() -> None:
    """A threat whose test was renamed away looks as if something still tried it."""
    there = "\n".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    known = set(re.findall(r"(?:def |class |^)(test_\w+|Test\w+)", there, re.MULTILINE))
    named = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"`(test_\w+|Test[A-Z]\w+)`", page.read_text())
    }
    assert named
    assert sorted(each for each in named if each[1] not in known) == []
