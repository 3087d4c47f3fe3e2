"""Where things are, for tests in whatever folder."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
"""The checkout."""


def programs(directory: Path) -> Path:
    """Where what was compiled of the fast path is kept, beside a directory that pytest made."""
    return directory.parent / "programs"
