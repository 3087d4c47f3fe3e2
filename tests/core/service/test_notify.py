"""What a service manager hears, by a real socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from core.service.notify import READY, VARIABLE, WATCHDOG, notify

PATIENCE_S = 10.0


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_it_hears_each_word(is_abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@voxpop-notify-{os.getpid()}" if is_abstract else str(tmp_path / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE_S)
        manager.bind(name.replace("@", "\0") if is_abstract else name)
        monkeypatch.setenv(VARIABLE, name)
        notify(READY, "STATUS=well")
        notify(WATCHDOG)
        assert manager.recv(100) == b"READY=1\nSTATUS=well"
        assert manager.recv(100) == b"WATCHDOG=1"


def test_nobody_to_tell_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    notify(READY)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nobody"))
    notify(READY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        monkeypatch.setenv(VARIABLE, str(tmp_path / "deaf"))
        for _ in range(1000):  # more than it has room for
            notify(WATCHDOG)
