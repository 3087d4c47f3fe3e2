"""Groups stay together and who is alone comes first, in real runs of pytest with workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT
from tests.suite.schedule import GROUPS, group_of

CONFTEST = """
import os, pathlib, pytest
from tests.suite.schedule import Schedule

def pytest_configure(config):
    for name in ("alone", "slow"):
        config.addinivalue_line("markers", f"{name}: of the suite")
    config.pluginmanager.register(Schedule())

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    with pathlib.Path("ran").open("a") as ran:
        print(os.environ.get("PYTEST_XDIST_WORKER", "none"), item.nodeid, file=ran)
"""
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_one(number): ...

@pytest.mark.alone
def test_alone(): ...

@pytest.mark.slow
def test_long(): ...
"""
FILES = ("core/test_a.py", "edge/lab/test_lab.py", "transceiver/demo/test_demo.py")


def ran(folder: Path, *options: str) -> list[tuple[str, str]]:
    """(worker, node id) in the order in which they began."""
    (folder / "tests").mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    for name in FILES:
        (folder / "tests" / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / "tests" / name).write_text(TESTS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib"]
    subprocess.run(
        [*command, "--rootdir", folder, *options, "tests"],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    return [(line.split()[0], line.split()[1]) for line in (folder / "ran").read_text().splitlines()]


def test_a_group_has_one_worker(tmp_path: Path) -> None:
    placed = ran(tmp_path, "-n", "2")
    assert len(placed) == 8 * len(FILES)
    in_group = [worker for worker, nodeid in placed if group_of(nodeid) in GROUPS and "alone" not in nodeid]
    assert len(in_group) == 14
    assert len(set(in_group)) == 1
    assert {worker for worker, _ in placed} == {"gw0", "gw1"}


def test_who_is_alone_comes_first_then_groups_then_what_takes_long(tmp_path: Path) -> None:
    order = [nodeid for _, nodeid in ran(tmp_path)]
    kinds = [
        "alone" if "alone" in nodeid else "group" if group_of(nodeid) in GROUPS else "other"
        for nodeid in order
    ]
    assert kinds == ["alone"] * 3 + ["group"] * 14 + ["other"] * 7
    assert "test_long" in order[-7]
