"""What every test shares: one hypothesis profile, and a way to show a figure."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest
from hypothesis import settings

# A loaded machine makes single examples slow; a slow example is not a failed one.
settings.register_profile("voxpop", deadline=None)
settings.load_profile("voxpop")

# A shell has what it runs in the background ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a figure to whoever runs the tests."""

    def show(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text}\n")

    return show
