"""The processes of tests: none outlives its test, so that one failure stays one; and what they cost."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

PATIENCE_S = 60.0


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str], number: int = signal.SIGINT) -> int:
    """Ask a process to end and wait for it; its exit status. Idempotent. Who does not end is killed, and
    raises TimeoutExpired.
    """
    try:
        process.send_signal(number)
        return process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()


def cpu_ns(task: int) -> int:
    """What a process of one thread, or a thread, has had of CPUs so far."""
    return int(Path(f"/proc/{task}/schedstat").read_text().split()[0])
