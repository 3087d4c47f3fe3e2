"""A site of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.reference import example
from tests.core.service.cli.kit import voxpop


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a configuration and its keys."""
    (tmp_path / "voxpop.toml").write_text(example())
    assert voxpop("keys", "new", "keys.toml", cwd=tmp_path).returncode == 0
    return tmp_path
