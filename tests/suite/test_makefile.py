"""What a fresh checkout installs for whom, by the real Makefile in a copy of this one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

TIMEOUT_S = 300
TOOLS = ("pytest", "ruff", "mypy", "lint-imports")
"""What only developers need."""
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", "node_modules", ".*_cache", ".hypothesis", "__pycache__")

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As a clone is, but that uv is there already when it is here."""
    return shutil.copytree(ROOT, tmp_path / "checkout", ignore=LEFT_OUT)


def make(checkout: Path, *goals: str) -> str:
    """What it prints."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "VIRTUAL_ENV", "UV_"))}
    done = subprocess.run(
        ["make", *goals], cwd=checkout, capture_output=True, text=True, timeout=TIMEOUT_S, env=inherited
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed_tools(checkout: Path) -> set[str]:
    return {tool for tool in TOOLS if (checkout / ".venv/bin" / tool).exists()}


def installing(told: str) -> int:
    return told.count("Installing the ")


def test_the_demo_installs_what_it_runs_and_no_stamp_takes_another_for_its_own(checkout: Path) -> None:
    assert installing(make(checkout, ".venv/.stamp-demo")) == 1
    assert installed_tools(checkout) == set()
    demo = [str(checkout / ".venv/bin/voxpop"), "demo", "--help"]
    subprocess.run(demo, check=True, capture_output=True, timeout=TIMEOUT_S)

    assert installing(make(checkout, ".venv/.stamp-check")) == 1
    assert installed_tools(checkout) == set(TOOLS)
    goals = (".venv/.stamp-demo", ".venv/.stamp-check", ".venv/.stamp-test")
    assert installing(make(checkout, *goals)) == 0

    (checkout / "pyproject.toml").touch()  # as an update does that may bring other packages
    make(checkout, ".venv/.stamp-demo")
    assert installed_tools(checkout) == set(TOOLS), "a developer's tools are not the demo's to remove"
    assert installing(make(checkout, ".venv/.stamp-test")) == 1

    make(checkout, "clean")
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".tools").exists()
