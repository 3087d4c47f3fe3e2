"""One planet for all tests that leave it as they find it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from edge.lab.planet import lifecycle
from edge.lab.planet.planet import Planet
from tests.edge.lab.planet.kit import SMALL, assert_nothing_left


@pytest.fixture(scope="package")
def planet() -> Iterator[Planet]:
    """The small one, with every daemon ready."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    name = f"p{os.getpid()}"
    with lifecycle.running(SMALL, name) as made:
        yield made
    assert_nothing_left(name)
