"""Who looks for the tests of a module finds them by its name, and the module of a test by the test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.suite.mirror import EXEMPT, PARTS, does_something, modules, without_a_module, without_tests


def test_every_module_that_does_something_has_tests_under_its_name() -> None:
    assert without_tests(ROOT) == []


def test_every_file_of_tests_belongs_to_a_module() -> None:
    assert without_a_module(ROOT) == []


def test_exemptions_are_few_there_and_needed() -> None:
    assert len(EXEMPT) < 10
    for name, reason in EXEMPT.items():
        assert reason
        source = ROOT / name
        assert does_something(source.read_text()), f"{name} needs no exemption"
        stem = source.parent.name if source.name == "__init__.py" else source.stem
        folder = (
            ROOT
            / "tests"
            / (source.parent.parent if source.name == "__init__.py" else source.parent).relative_to(ROOT)
        )
        assert not list(folder.glob(f"test_{stem}.py")), f"{name} has tests"


@pytest.mark.parametrize(
    ("source", "does"),
    [
        ("X = 1", False),
        ("class A(StrEnum):\n    B = 'b'", False),
        ("class A(Protocol[T]):\n    def f(self): ...", False),
        ("class A:\n    def f(self): ...", True),
        ("async def f(): ...", True),
    ],
)
def test_declarations_need_no_tests(source: str, does: bool) -> None:
    assert does_something(source) is does


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Sources and tests of which some have no counterpart."""
    for name in (
        "core/a.py", "core/a_b.py", "edge/pack/__init__.py", "edge/pack/c.py", "ebpf/prog/x.c",
        "tests/core/test_a_b.py", "tests/core/test_z.py", "tests/edge/test_pack.py",
        "tests/edge/pack/test_c_in_detail.py", "tests/ebpf/prog/test_x.py", "tests/lab/test_scenario.py",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def f(): ...\n")
    for part in PARTS:
        (tmp_path / part).mkdir(exist_ok=True)
    return tmp_path


def test_counterparts_are_found_by_name(tree: Path) -> None:
    assert without_a_module(tree) == ["tests/core/test_z.py"]
    assert without_tests(tree) == [], "test_a_b is an aspect of a as well"
    (tree / "tests/core/test_a_b.py").unlink()
    (tree / "tests/edge/test_pack.py").unlink()
    (tree / "tests/ebpf/prog/test_x.py").unlink()
    assert without_tests(tree) == ["core/a.py", "core/a_b.py", "ebpf/prog/x.c", "edge/pack/__init__.py"]


def test_a_package_without_functions_is_no_module(tree: Path) -> None:
    (tree / "edge/pack/__init__.py").write_text('"""Nothing."""\n')
    assert "edge/pack" not in map(str, modules(tree))
    assert without_a_module(tree) == ["tests/core/test_z.py", "tests/edge/test_pack.py"]
