"""The interface, by the kernel's word for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UnavailableError
from ebpf.net import netns, tun
from ebpf.net.attach import Netdev
from edge.health.presence import Presence
from tests.processes import PATIENCE_S

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

UP = "voxpop-up"
STAY = f"""
import sys, time
from edge.health.presence import Presence
with Presence({UP!r}) as presence:
    presence.set(is_there=True)
    print("there", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"voxpop-p{os.getpid()}"
    netns.create(chosen)
    yield chosen
    netns.remove(chosen)


def is_up(name: str) -> bool | None:
    """None where there is none."""
    with Netdev(name) as netdev:
        flags = {link.name: link.is_up for link in netdev.links()}
    return flags.get(UP)


def test_it_is_there_and_up_or_it_is_not_there(name: str) -> None:
    with netns.inside(name), Presence(UP) as presence:
        assert is_up(name) is None
        presence.set(is_there=True)
        presence.set(is_there=True)
        assert is_up(name)
        presence.set(is_there=False)
        presence.set(is_there=False)
        assert is_up(name) is None
        presence.set(is_there=True)
    assert is_up(name) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGALRM])
def test_it_goes_with_its_process_however_that_ends(name: str, number: signal.Signals) -> None:
    with netns.inside(name):
        child = subprocess.Popen([sys.executable, "-c", STAY], stdout=subprocess.PIPE)
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"there\n"
            assert is_up(name)
        finally:
            child.send_signal(number)
        child.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while is_up(name) is not None:
        assert time.monotonic() < deadline


def test_one_that_would_stay_without_us_is_not_ours_to_use(name: str) -> None:
    """It would announce for ever."""
    tun.create(name, UP)
    with (
        netns.inside(name),
        pytest.raises(UnavailableError, match=r"announce\.interface: .*busy.* no other interface"),
        Presence(UP),
    ):
        pass


def test_who_may_not_make_interfaces_is_told_what_it_takes(name: str) -> None:
    attempt = f"import os; os.setuid(65534)\n{STAY}"
    with netns.inside(name):
        done = subprocess.run(
            [sys.executable, "-c", attempt],
            capture_output=True,
            text=True,
            cwd=Path.cwd(),
            timeout=PATIENCE_S,
        )
    assert "CAP_NET_ADMIN" in done.stderr
    assert is_up(name) is None
