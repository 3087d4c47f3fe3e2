"""`voxpop lab` as people type it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ebpf.net import netns
from edge.lab.plan import DIRECTORY, Place

PATIENCE_S = 60.0
NOBODY = 65534


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "voxpop", "lab", *words]


def voxpop(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=PATIENCE_S)


def status(name: str) -> dict[str, Any]:
    """What `lab status` says of one lab."""
    shown = voxpop("status", "--json", "--name", name)
    assert shown.returncode == 0
    (found,) = json.loads(shown.stdout)["labs"]
    return dict(found)


def assert_nothing_left(name: str) -> None:
    assert not any(netns.exists(f"voxpop-{name}-{place}") for place in Place)
    assert not (DIRECTORY / name).exists()
    assert f"{DIRECTORY / name}" not in Path("/proc/mounts").read_text()
    assert not Path(f"/sys/class/net/vp-{name}").exists()


@contextmanager
def start(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs meanwhile; killed if it is still there in the end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(*words), stdout=pipe, stderr=pipe, text=True, start_new_session=True) as it:
        try:
            yield it
        finally:
            it.kill()


def until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process does and does not tell."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
