"""What a checker goes on as, and with which file. That it does is in test_service.py."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf.net import netns, tun
from edge.health.handover import VARIABLE, Program, taken
from tests.paths import ROOT


def program(config: Path, *command: str) -> Program:
    return Program(command or (sys.executable, str(ROOT / "voxpop.py")), ("announce",), config)


def test_it_is_the_path_that_it_was_started_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "voxpop"
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "announce", "--config", "c.toml"])
    own = Program.of_this_process(Path("c.toml"))
    assert own == Program((str(script),), ("announce", "--config", "c.toml"), Path("c.toml"))
    script.chmod(0o644)
    assert Program.of_this_process(Path("c.toml")).command == (sys.executable, str(script))


def test_who_could_not_start_is_told(tmp_path: Path) -> None:
    missing = asyncio.run(program(tmp_path / "none.toml").fault())
    assert missing is not None
    assert "none.toml" in missing
    gone = asyncio.run(program(tmp_path / "none.toml", str(tmp_path / "voxpop")).fault())
    assert gone == f"{tmp_path / 'voxpop'}: No such file or directory"


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"voxpop-h{os.getpid()}"
    netns.create(chosen)
    yield chosen
    netns.remove(chosen)


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
def test_the_file_that_was_left_is_taken_once_if_it_is_that_of_the_interface(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tun.open_device(name, "voxpop-up")
    monkeypatch.setenv(VARIABLE, str(file))
    assert taken("voxpop-up") == file
    assert taken("voxpop-up") is None
    monkeypatch.setenv(VARIABLE, str(file))
    assert taken("voxpop-web") is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


@pytest.mark.parametrize("left", ["", "x", "99999"])
def test_what_is_no_such_file_is_not_taken(left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, left)
    assert taken("voxpop-up") is None
