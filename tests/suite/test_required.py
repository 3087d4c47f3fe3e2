"""What CI does with skips, by a run of pytest in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

CONFTEST = """
from tests.suite.required import Required, is_ci

def pytest_configure(config):
    if is_ci():
        config.pluginmanager.register(Required())
"""
TESTS = """
import pytest

@pytest.fixture
def rights():
    pytest.skip("needs root: loads BPF programs")

@pytest.mark.skipif(True, reason="Go is not installed")
def test_marked(): ...

def test_by_fixture(rights): ...

def test_of_the_machine():
    pytest.skip("this machine has no ::1")

@pytest.mark.xfail(reason="known")
def test_expected():
    raise AssertionError
"""


def run(folder: Path, **environment: str) -> tuple[int, str]:
    """Exit status and output of pytest."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--rootdir", folder, folder],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    status, out = run(tmp_path)
    assert status == 0
    assert "3 skipped, 1 xfailed" in out


def test_in_ci_a_skip_is_a_failure_unless_nothing_could_change_it(tmp_path: Path) -> None:
    status, out = run(tmp_path, CI="true")
    assert status == 1
    assert "1 skipped, 1 xfailed, 2 errors" in out
    assert "Go is not installed" in out
    assert "needs root: loads BPF programs" in out
