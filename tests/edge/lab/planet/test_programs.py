"""Programs that a planet takes from the distribution."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UnavailableError
from edge.lab.planet import programs


def test_all_are_found_also_where_path_has_no_sbin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert all(Path(programs.find(program)).exists() for program in programs.PACKAGES)


def test_of_one_that_is_missing_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"a planet takes redis-cli: apt install redis-tools"):
        programs.find("redis-cli")
