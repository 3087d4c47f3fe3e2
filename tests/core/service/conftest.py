"""A daemon of two workers, and that it has not stumbled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.service.tiny_kit import Tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Tiny]:
    """Still to be started."""
    one = Tiny(tmp_path)
    yield one
    one.stop()
    assert "Traceback" not in one.log
