"""ebpf.locks on a real BPF file system: one holder at a time, who it is, and that a lock ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf.errors import HeldError, PinError
from ebpf.locks import Role, held, holder, take
from tests.paths import ROOT

HOLD = """
import sys
from pathlib import Path
from ebpf.locks import Role, take
take(Path(sys.argv[1]), Role(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pin_dir(bpffs: Path) -> Iterator[Path]:
    path = bpffs / "locks"
    path.mkdir()
    yield path
    for lock in path.iterdir():
        lock.rmdir()
    path.rmdir()


@pytest.fixture
def other(pin_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which holds the relay's lock."""
    command = [sys.executable, "-c", HOLD, str(pin_dir), Role.RELAY]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_who_comes_second_is_told_who_was_first_and_since_when(
    pin_dir: Path, other: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(HeldError, match=f"process {other.pid} .*since"):
        take(pin_dir, Role.RELAY)
    found = holder(pin_dir, Role.RELAY)
    assert found is not None
    assert found.pid == other.pid
    assert found.since_s == pytest.approx(time.time(), abs=600)


def test_a_lock_goes_with_its_process_however_that_ends(
    pin_dir: Path, other: subprocess.Popen[bytes]
) -> None:
    other.kill()
    other.wait()
    assert holder(pin_dir, Role.RELAY) is None
    os.close(take(pin_dir, Role.RELAY))


def test_the_two_locks_of_a_directory_are_apart(pin_dir: Path, other: subprocess.Popen[bytes]) -> None:
    with held(pin_dir, Role.DATAPLANE):
        assert holder(pin_dir, Role.RELAY) is not None
        assert holder(pin_dir, Role.DATAPLANE) is not None
    assert holder(pin_dir, Role.DATAPLANE) is None


def test_a_lock_that_was_let_go_can_be_had_again(pin_dir: Path) -> None:
    for _ in range(3):
        with held(pin_dir, Role.RELAY), pytest.raises(HeldError):
            take(pin_dir, Role.RELAY)


def test_where_nothing_is_pinned_there_is_nothing_to_lock(pin_dir: Path) -> None:
    assert holder(pin_dir / "none", Role.RELAY) is None
    with pytest.raises(PinError, match="dataplane run"):
        take(pin_dir / "none", Role.RELAY)


def test_a_refused_attempt_leaves_no_descriptor(pin_dir: Path, other: subprocess.Popen[bytes]) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        with pytest.raises(HeldError):
            take(pin_dir, Role.RELAY)
        holder(pin_dir, Role.RELAY)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
