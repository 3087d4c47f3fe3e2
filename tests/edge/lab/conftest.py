"""A lab's name."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from edge.lab import lab
from tests.edge.lab.kit import assert_nothing_left


@pytest.fixture
def name() -> Iterator[str]:
    """A lab's name; whatever is left of the lab is removed, and is a fault where the test removed it."""
    chosen = f"u{os.getpid()}"
    yield chosen
    lab.down(chosen)
    assert_nothing_left(chosen)
