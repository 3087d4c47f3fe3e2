"""What every test shares: how tests run side by side, what they took, and a way to tell a figure."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from tests.suite.alone import Room, room_of
from tests.suite.budget import SAID, Budget
from tests.suite.required import Required, is_ci
from tests.suite.schedule import Schedule

# How long an example takes to make is a matter of the machine and its load, and no fault of a test.
settings.register_profile("voxpop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("voxpop"), max_examples=20_000)
settings.load_profile("voxpop")

# A shell has what it runs in the background ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where bytecode is not kept, as in images of containers, each of the thousand processes that tests start
# would compile all that it imports anew: two fifths of what a start takes.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    sys.dont_write_bytecode = False

# Packages of other makers, which only `make peers` installs.
collect_ignore = [] if os.environ.get("VOXPOP_PEERS") else ["peers"]


def pytest_configure(config: pytest.Config) -> None:
    """The suite's own plugins (tests/suite)."""
    config.pluginmanager.register(Budget())
    config.pluginmanager.register(Schedule())
    if is_ci():
        config.pluginmanager.register(Required())
    if (folder := room_of(config)) is not None:
        config.pluginmanager.register(Room(folder))


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells a figure to whoever runs the tests, at the end of the run."""

    def tell(text: str) -> None:
        request.node.user_properties.append((SAID, text))

    return tell
