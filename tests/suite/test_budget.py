"""The budgets are those of CONTRIBUTING.md, and cover every folder of tests."""

from __future__ import annotations

from tests.paths import ROOT, TESTS
from tests.suite.budget import ALL, Spent, budgets, by_folder, folder_of

TABLE = """
| tests | budget |
| --- | --- |
| all, side by side | 60 s |
| `tests/edge` | 20 s |
| `tests/edge/host` | 30 s |
"""


def test_budgets_are_read_from_the_table() -> None:
    assert budgets(TABLE) == {ALL: 60, "edge": 20, "edge/host": 30}
    assert budgets("no table") == {}


def test_a_test_counts_in_the_innermost_folder_with_a_budget() -> None:
    known = budgets(TABLE)
    assert folder_of("tests/edge/host/test_service.py::test_x[a/b]", known) == "edge/host"
    assert folder_of("tests/edge/relay/test_decide.py::test_x", known) == "edge"
    assert folder_of("tests/core/config/test_parse.py::test_x", known) == "core"


def test_a_folder_has_what_its_tests_have() -> None:
    spent = {
        "tests/edge/relay/test_a.py::test_x": Spent(1, 1.5, 0.5),
        "tests/edge/relay/test_a.py::test_y": Spent(1, 2.0, 1.0),
        "tests/core/test_b.py::test_z": Spent(1, 4.0, 4.0),
    }
    assert by_folder(spent, budgets(TABLE)) == {"edge": Spent(2, 3.5, 1.5), "core": Spent(1, 4.0, 4.0)}


def test_every_folder_of_tests_has_a_budget() -> None:
    known = budgets((ROOT / "CONTRIBUTING.md").read_text())
    assert ALL in known
    files = [str(path.relative_to(ROOT)) for path in TESTS.rglob("test_*.py")]
    assert {folder_of(f"{file}::test_x", known) for file in files} == set(known) - {ALL}
