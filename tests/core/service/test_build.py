"""core.service.build: what a checkout and a wheel say of themselves."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from core.service import build


def test_the_version_is_that_of_the_package() -> None:
    assert version("voxpop") == build.VERSION


def test_a_checkout_is_of_no_commit_and_a_wheel_of_one(tmp_path: Path) -> None:
    assert build.COMMIT == build.UNKNOWN
    file = tmp_path / "commit.txt"
    assert build.commit_in(file) == build.UNKNOWN
    file.write_text("0123456789abcdef0123456789abcdef01234567\n")
    assert build.commit_in(file) == "0123456789ab"
    file.write_text("\n")
    assert build.commit_in(file) == build.UNKNOWN
