"""`voxpop demo` as root: the call goes through the fast path, and so does that of this machine's browser."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.lab import lab
from tests.processes import end

pytestmark = [pytest.mark.netns, pytest.mark.slow]

PATIENCE_S = 120.0
A_HANDFUL = 20


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The demo in a lab; it ends with the block."""
    command = [sys.executable, "-m", "voxpop", "demo", "--lab", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            end(process, signal.SIGTERM)


def assert_its_lab_is_gone(process: subprocess.Popen[str]) -> None:
    assert not lab.is_there(f"demo-{process.pid}")


def test_the_report_says_what_the_kernel_carried() -> None:
    with demo("--once") as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert "forwarder xdp" in out
    found = re.search(r"carried (\d+) of (\d+) packets .*: (\d+) to the transceiver, (\d+) back", out)
    assert found is not None, out
    carried, total, up, down = map(int, found.groups())
    assert carried == up + down
    assert total - carried < A_HANDFUL < min(up, down)
    assert_its_lab_is_gone(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_page_is_served_until_the_demo_ends(number: int) -> None:
    with demo() as process:
        assert process.stdout is not None
        url = next(line for line in process.stdout if "open http" in line).split("open ")[1].split(",")[0]
        called = subprocess.run(
            [sys.executable, "-m", "voxpop", "call", url, "--json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert called.returncode == 0
        assert '"forwarder": "xdp"' in called.stdout
        (holder,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        lab_process = os.pidfd_open(int(holder))
        process.send_signal(number)
        process.wait(PATIENCE_S)
        assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        ended, _, _ = select.select([lab_process], [], [], PATIENCE_S)
        os.close(lab_process)
        assert ended, "the lab's own process ends with the demo, even with one that was killed"
    assert_its_lab_is_gone(process)
