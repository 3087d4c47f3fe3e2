"""The Redis of a lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UnavailableError
from edge.lab.drills import store as stores


def test_it_comes_back_empty_from_a_kill_and_is_gone_after_the_block(tmp_path: Path) -> None:
    with stores.running(tmp_path) as store:
        store.command("SET", "a", "1")
        assert store.command("GET", "a") == "1"
        store.kill()
        assert not store.answers()
        store.kill()
        store.start()
        assert store.command("GET", "a") == ""
    assert store.url == f"unix://{tmp_path}/redis.sock"
    assert not store.answers()


def test_a_command_waits_while_it_stands_still(tmp_path: Path) -> None:
    with stores.running(tmp_path) as store:
        store.pause(300)
        assert store.answers(), "after the pause"


def test_a_command_that_is_none_is_told(tmp_path: Path) -> None:
    with stores.running(tmp_path) as store, pytest.raises(UnavailableError, match="NONE: ERR unknown"):
        store.command("NONE")


def test_one_that_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="redis-server is not installed"), stores.running(tmp_path):
        raise AssertionError
