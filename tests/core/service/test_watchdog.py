"""What a service manager hears of a daemon, by a real socket; the daemon is a real one of two workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.service import watchdog
from core.service.build import VERSION
from core.service.launch import PASS_VARIABLE
from core.service.notify import READY, VARIABLE, WATCHDOG
from core.service.watchdog import Condition, allowed_s, keep_telling
from tests.core.service.tiny_kit import PATIENCE_S, Tiny

WELL = Condition(is_fit=True, is_ending=False, words="well", silent_s=0.2)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE_S)
        listening.bind(str(tmp_path / "manager.sock"))
        monkeypatch.setenv(VARIABLE, str(tmp_path / "manager.sock"))
        monkeypatch.setenv(PASS_VARIABLE, VARIABLE)
        yield listening


def hear(manager: socket.socket) -> list[str]:
    return manager.recv(1000).decode().split("\n")


@pytest.mark.parametrize(
    ("allowed", "meant_for", "seconds"),
    [
        ("20000000", None, 20.0),
        ("20000000", "own", 20.0),
        ("20000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_it_is_wanted_by_who_says_so_and_of_whom(
    allowed: str | None, meant_for: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ((watchdog.ALLOWED, allowed), (watchdog.MEANT_FOR, meant_for)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value.replace("own", str(os.getpid())))
    assert allowed_s() == seconds


def test_it_is_told_as_long_as_the_workers_live(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready once, how it is when that has changed, that it lives each time, and nothing while it does not."""
    monkeypatch.setattr(watchdog, "PERIOD_S", 0.01)
    stale = watchdog.MENDING_S
    said = [
        (
            Condition(is_fit=False, is_ending=False, words="not yet", silent_s=1.0),
            ["STATUS=not yet", WATCHDOG],
        ),
        (WELL, [READY, "STATUS=well", WATCHDOG]),
        (WELL, [WATCHDOG]),
        (Condition(is_fit=True, is_ending=False, words="stale", silent_s=stale), ["STATUS=stale"]),
        (Condition(is_fit=True, is_ending=False, words="stale", silent_s=stale), None),
        (WELL, ["STATUS=well", WATCHDOG]),
        (
            Condition(is_fit=False, is_ending=True, words="ends", silent_s=0.0),
            ["STATUS=ends", WATCHDOG, "EXTEND_TIMEOUT_USEC=30000000"],
        ),
    ]
    conditions = iter(condition for condition, _ in said)

    async def tell() -> None:
        with contextlib.suppress(StopIteration, RuntimeError):
            await keep_telling(lambda: next(conditions))

    asyncio.run(tell())
    heard = [hear(manager) for _, lines in said if lines is not None]
    assert heard == [lines for _, lines in said if lines is not None]


def test_nobody_to_tell_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    asyncio.run(keep_telling(lambda: pytest.fail("asked in vain")))


@pytest.mark.slow
def test_a_daemon_tells_how_it_is_from_start_to_end(tiny: Tiny, manager: socket.socket) -> None:
    """Until it is ready it is silent: the manager's time for a start is running."""
    busy = tiny.mark("busy")
    tiny.start()
    assert hear(manager) == [READY, f"STATUS={VERSION}: ready", WATCHDOG]
    assert hear(manager) == [WATCHDOG]
    tiny.signal(signal.SIGTERM)
    while (heard := hear(manager)) == [WATCHDOG]:
        pass
    assert heard == [f"STATUS={VERSION}: draining, 1 things left", WATCHDOG, "EXTEND_TIMEOUT_USEC=30000000"]
    busy.unlink()
    assert tiny.wait() == 0
