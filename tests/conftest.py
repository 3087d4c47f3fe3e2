"""What every test shares: one hypothesis profile, and a way to show a figure."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import settings

# A loaded machine makes single examples slow; a slow example is not a failed one.
settings.register_profile("voxpop", deadline=None)
settings.load_profile("voxpop")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a figure to whoever runs the tests."""

    def show(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text}\n")

    return show
